// EvictionPolicy: orders the evictable blocks of one tier from "evict first" to "evict last".
// It proposes and never removes: the owner of the tier decides and reports what it did.
//
// A policy keeps a parent at least as young as its children, so that chains are given up from the
// end. Thread-compatible: the owner's lock guards every call.
#pragma once

#include <cstddef>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "cachestore/block/block_id.h"

namespace reprise::cachestore {

class EvictionPolicy {
 public:
  virtual ~EvictionPolicy() = default;

  // `id` was just used and may be evicted from now on. When the policy holds `parent`, `id` is kept
  // evictable before it; pass kNoBlock for a block without parent. REQUIRES: !Contains(id).
  virtual void OnInsert(BlockId id, BlockId parent) = 0;

  // A request used these blocks, root first. Blocks that the policy does not hold are skipped.
  virtual void OnHit(absl::Span<const BlockId> chain) = 0;

  // `id` left the tier, or may not be evicted for now. REQUIRES: Contains(id).
  virtual void OnErase(BlockId id) = 0;

  // Calls `consider` for the held blocks, best victim first, until it returns false or there are no
  // more. `consider` must not call the policy.
  virtual void ProposeVictims(absl::FunctionRef<bool(BlockId)> consider) const = 0;

  virtual bool Contains(BlockId id) const = 0;
  virtual size_t size() const = 0;
};

}  // namespace reprise::cachestore
