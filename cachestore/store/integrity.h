// The consistency check behind TieredStore::CheckIntegrity().
#pragma once

#include "absl/status/status.h"
#include "cachestore/store/store_state.h"
#include "cachestore/tier/backing_tier.h"

namespace reprise::cachestore {

// Compares index, pool, policies and counts with each other. kInternal names the first
// disagreement.
absl::Status CheckState(const StoreState& state);

// Compares the index with what the tier holds, unless a write is under way (the tier is ahead of
// the index then, or behind it). kInternal names the first disagreement; other errors are the
// tier's. BLOCKS.
absl::Status CheckTier(const StoreState& state, BackingTier& tier);

}  // namespace reprise::cachestore
