// RankedBlocks: blocks in the order of a rank, for policies that evict the least. Changing one
// takes O(log n). Thread-compatible.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "absl/container/btree_set.h"
#include "cachestore/trace/trace.h"

namespace reprise::bench {

template <typename Rank>
class RankedBlocks {
 public:
  explicit RankedBlocks(size_t num_blocks) : ranks_(num_blocks), contains_(num_blocks) {}

  bool Contains(cachestore::BlockNumber block) const { return contains_[block]; }
  int64_t size() const { return static_cast<int64_t>(order_.size()); }
  // REQUIRES: not empty.
  const std::pair<Rank, cachestore::BlockNumber>& Least() const { return *order_.begin(); }

  // Adds the block, or moves it.
  void Set(cachestore::BlockNumber block, const Rank& rank) {
    Remove(block);
    ranks_[block] = rank;
    contains_[block] = true;
    order_.insert({rank, block});
  }
  void Remove(cachestore::BlockNumber block) {
    if (!contains_[block]) return;
    order_.erase({ranks_[block], block});
    contains_[block] = false;
  }

 private:
  std::vector<Rank> ranks_;     // by block, of those that are there
  std::vector<bool> contains_;  // by block
  absl::btree_set<std::pair<Rank, cachestore::BlockNumber>> order_;
};

}  // namespace reprise::bench
