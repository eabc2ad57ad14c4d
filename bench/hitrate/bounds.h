// What no policy can beat: offline bounds that know the whole trace. Pure functions.
//
// All but InfiniteCache take the trace's UseRuns::Next. As in the replays, a request's blocks may
// be kept from its end to the beginning of the next one.
#pragma once

#include <cstdint>

#include "bench/hitrate/tally.h"
#include "bench/hitrate/use_runs.h"
#include "cachestore/trace/trace.h"

namespace reprise::bench {

// Everything that came once stays.
Tally InfiniteCache(const cachestore::Trace& trace);

// As InfiniteCache, and the KV of decoded tokens and of blocks that are not full stays too: a
// request that goes on behind the last full block of an earlier one of its session, and is at least
// as long as that prompt with its answer, has all of these tokens. Only where nobody else used that
// block, for a trace does not say whether tokens were the same: a prompt that many share is gone on
// with in many ways. Blocks are counted as before. An estimate.
Tally InfiniteCacheOfTokens(const cachestore::Trace& trace);

// The most block hits that `capacity` blocks allow (Belady's MIN with bypass): after each request,
// of what is there and what the request brought, those whose next use is furthest go, the deepest
// first. Blocks are equal, and every stay in the cache ends with a hit, so this is the largest set
// of stays of which never more than `capacity` overlap, found greedily; a block's next use is never
// before its parent's, so the set has every block's ancestors too. What it saves in tokens and cost
// is that of these hits, not the most that could be saved.
Tally Optimum(const cachestore::Trace& trace, const UseRuns& next_uses, int64_t capacity);

// No policy with `capacity` blocks saves more of Tally::cost than this share of it. A hit at depth
// d is worth the sum of the steps by which worth grows up to d; for each step the hits at its depth
// and deeper ones are at most those of a cache that keeps nothing else. Depths are taken in
// `kCostLevels` steps, rounded up. Not always attained: each step's cache is another one.
inline constexpr int kCostLevels = 32;
double CostBound(const cachestore::Trace& trace, const UseRuns& next_uses, int64_t capacity);

}  // namespace reprise::bench
