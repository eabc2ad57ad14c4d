// EnterSealed: which node a sealed block belongs to. Shared by the tiers that blocks are written
// in.
#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "cachestore/store/store_state.h"

namespace reprise::cachestore {

// What is sealed.
struct SealRequest {
  uint32_t namespace_id = 0;
  SlotIndex slot = kNoSlot;
  BlockKey parent;
  BlockKey key;
  absl::Span<const uint32_t> words;
  uint64_t payload_hash = 0;  // as RamCopy::payload_hash
};

// The node of the block, a new one or the one it has; a private one when it must not be found: an
// invalidation has begun since `epoch`, in which its slot was allocated, its parent is not in the
// store, or another block has its key or its parent's. The caller gives it a copy next.
// Thread-compatible: StoreCore::mu guards every call.
BlockId EnterSealed(StoreState& state, const SealRequest& request, uint64_t epoch);

}  // namespace reprise::cachestore
