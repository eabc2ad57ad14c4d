// RankedSets: candidate sets in which blocks go group by group: the group of the lowest level
// first, of equal ones that with the lower number, and of a group the deepest block. So when what a
// group is worth changes, one entry of each set moves, however many blocks it has.
//
// A set is two B-trees: its blocks by (group, depth), and the groups that have blocks in it by
// (level, group). Knows no more of a group than its number and level, which the caller keeps and
// gives. 14 to 18 bytes a block, as full as the nodes are. Thread-compatible.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/functional/function_ref.h"
#include "cachestore/block/block_id.h"
#include "cachestore/policy/eviction_policy.h"

namespace reprise::cachestore {

class RankedSets {
 public:
  RankedSets() = default;
  RankedSets(const RankedSets&) = delete;
  RankedSets& operator=(const RankedSets&) = delete;

  static constexpr int kGroupBits = 40;
  static constexpr int kDepthBits = 24;
  static constexpr uint64_t kMaxGroup = (uint64_t{1} << kGroupBits) - 2;
  static constexpr uint32_t kMaxDepth = (1u << kDepthBits) - 1;

  // A group as a set sees it. Low ones go first.
  struct Rank {
    uint16_t level = 0;
    uint64_t group = 0;  // up to kMaxGroup
    friend auto operator<=>(const Rank&, const Rank&) = default;
  };

  // REQUIRES: the block is not in the set. True: it is the group's first one there.
  bool Insert(CandidateSet set, const Rank& rank, uint32_t depth, BlockId id);
  // REQUIRES: the block is in the set, with these values. True: it was the group's last one there.
  bool Erase(CandidateSet set, const Rank& rank, uint32_t depth, BlockId id);
  // The level of a group that has blocks in the set changes.
  void Move(CandidateSet set, const Rank& from, uint16_t level);

  // The block that goes first; kNoBlock when there is none.
  BlockId Best(CandidateSet set) const;
  // Calls `consider` for the blocks in order until it returns false.
  void Visit(CandidateSet set, absl::FunctionRef<bool(BlockId)> consider) const;
  size_t size(CandidateSet set) const { return set < sets_.size() ? sets_[set].blocks.size() : 0; }

 private:
  // Group (40 bits) and depth (24 bits), in two words, because one of 64 bits would pad an entry to
  // 16 bytes. New blocks come behind all others then, where a tree's nodes stay full.
  struct Entry {
    uint32_t high = 0;
    uint32_t low = 0;
    BlockId id = kNoBlock;

    uint64_t group() const { return (uint64_t{high} << 32 | low) >> kDepthBits; }
    friend auto operator<=>(const Entry&, const Entry&) = default;
  };
  static_assert(sizeof(Entry) == 12);
  struct Set {
    absl::btree_set<Entry> blocks;
    absl::btree_set<uint64_t> ranks;  // level, then group
    // Where a block came or went last: the next one to come or go is often there too.
    absl::btree_set<Entry>::iterator last_change = blocks.end();
  };
  // Else sets_ would copy trees when it grows, and last_change would stay in the old one.
  static_assert(std::is_nothrow_move_constructible_v<Set>);

  static Entry EntryOf(uint64_t group, uint32_t depth, BlockId id);
  // The end of the group's blocks, of which the last one goes first.
  static auto EndOf(const Set& set, uint64_t group) {
    return set.blocks.lower_bound(EntryOf(group + 1, 0, 0));
  }

  std::vector<Set> sets_;  // by CandidateSet
};

}  // namespace reprise::cachestore
