// Recovery: fills an empty StoreState with what a backing tier holds from an earlier run.
#pragma once

#include "absl/status/status.h"
#include "cachestore/store/store_state.h"
#include "cachestore/tier/backing_tier.h"

namespace reprise::cachestore {

// Enters every block of the tier whose namespace is bound, whose parent is there too and whose key
// `derive` gives; the others are erased from the tier, because nothing could ever match them. The
// order of eviction is the order of storing, parents at least as young as their children. Payloads
// are not read. BLOCKS. Errors are the tier's.
absl::Status Recover(BackingTier& tier, KeyDeriver derive, StoreState& state);

}  // namespace reprise::cachestore
