// The rows of suite "hitrate": what sweeps come to.
#pragma once

#include <vector>

#include "bench/hitrate/sweep.h"
#include "bench/hitrate/tier_sweep.h"
#include "bench/hitrate/what_if_replay.h"
#include "bench/report.h"

namespace reprise::bench {

// For each policy of the sweeps but LRU the share of the gap that it closes and its worst cell; for
// the store's default policy the same with goals, and what LRU would need for its hits on traces of
// chats. `with_goals`: false where the figures mean nothing.
std::vector<Result> HitrateRows(const std::vector<Sweep>& sweeps, bool with_goals);

// For each admission policy and trace of chats, what the disk keeps of its hits and of its writes
// against writing everything that RAM gives up, under the store's default eviction policy.
std::vector<Result> DiskFrontierRows(const std::vector<TierSweep>& sweeps, bool with_goals);

// whatif.error for each trace, policy and tier.
std::vector<Result> WhatIfRows(const std::vector<WhatIfSweep>& sweeps, bool with_goals);

}  // namespace reprise::bench
