// WaitingRequests: requests that were told of before they come, by the caller's number, and the
// blocks that each of them will use. A request waits for a minute at most, and all of them together
// for kMaxBlocks: where there is no room, those that come first keep theirs. A call costs what the
// blocks do that it gives or takes, however many requests wait. Thread-compatible.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "cachestore/block/block_id.h"

namespace reprise::cachestore {

class WaitingRequests {
 public:
  static constexpr size_t kMaxBlocks = 65536;

  // REQUIRES: the request does not wait yet, there are blocks, room() at most, and none was added
  // at a greater `now_us`.
  void Add(uint64_t request, int64_t now_us, std::vector<BlockId> blocks);
  // It waits no more. Returns its blocks; none if it did not wait.
  std::vector<BlockId> Take(uint64_t request);

  // For how many more blocks requests may wait.
  size_t room() const { return kMaxBlocks - num_blocks_; }
  // Whether the one that has waited the longest has waited too long.
  bool HasOverdue(int64_t now_us) const;
  // Takes that one. REQUIRES: one waits.
  std::vector<BlockId> TakeFirst() { return Take(waiting_.front().request); }

  size_t size() const { return waiting_.size(); }

 private:
  struct Waiting {
    uint64_t request = 0;
    int64_t since_us = 0;
    std::vector<BlockId> blocks;
  };

  std::list<Waiting> waiting_;  // the one that has waited the longest first
  absl::flat_hash_map<uint64_t, std::list<Waiting>::iterator> by_request_;
  size_t num_blocks_ = 0;  // of all of them
};

}  // namespace reprise::cachestore
