// Rows of suite "hitrate" of what the store's default eviction policy takes itself: memory for each
// block, and time for each block that goes.
#pragma once

#include <vector>

#include "bench/extent.h"
#include "bench/report.h"
#include "cachestore/trace/trace.h"

namespace reprise::bench {

// policy.bytes_per_block of each trace of agents, policy.evict_ns and policy.evict_growth. BLOCKS
// for half a minute, with 1 GiB of memory. With `with_goals` they have the goals of the issue.
std::vector<Result> PolicyCostRows(const std::vector<cachestore::Trace>& traces, Extent extent,
                                   bool with_goals);

}  // namespace reprise::bench
