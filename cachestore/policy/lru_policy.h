// LruPolicy: evicts the block whose last use is the longest ago; a block used together with its
// parent goes before it. One doubly linked list threaded through an array indexed by block, so
// every event costs constant time and no allocation. Thread-compatible.
#pragma once

#include <vector>

#include "cachestore/base/huge_page_allocator.h"
#include "cachestore/policy/eviction_policy.h"

namespace reprise::cachestore {

class LruPolicy : public EvictionPolicy {
 public:
  void OnInsert(BlockId id, BlockId parent) override;
  void OnHit(absl::Span<const BlockId> chain) override;
  void OnErase(BlockId id) override;
  void ProposeVictims(absl::FunctionRef<bool(BlockId)> consider) const override;
  bool Contains(BlockId id) const override;
  size_t size() const override { return size_; }

 private:
  struct Link {
    BlockId older = kNoBlock;
    BlockId younger = kNoBlock;
    bool held = false;
  };

  // Links `id` directly older than `younger`; as the youngest for kNoBlock.
  void LinkBefore(BlockId id, BlockId younger);
  void Unlink(BlockId id);

  std::vector<Link, HugePageAllocator<Link>> links_;  // by BlockId
  BlockId oldest_ = kNoBlock;
  BlockId youngest_ = kNoBlock;
  size_t size_ = 0;
};

}  // namespace reprise::cachestore
