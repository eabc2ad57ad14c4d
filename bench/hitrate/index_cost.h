// What a replay takes without its eviction policy: the same replay with the blocks that go written
// down before. What the policy itself takes is the difference.
#pragma once

#include <cstdint>

#include "bench/hitrate/store_cache.h"
#include "cachestore/trace/trace.h"

namespace reprise::bench {

// Seconds of CPU time of a replay of the store's default policy, less those in the policy.
// `capacity` and `make_room` as StoreCache. BLOCKS for two replays.
double SecondsOfIndex(const cachestore::Trace& trace, int64_t capacity, MakeRoom make_room);

}  // namespace reprise::bench
