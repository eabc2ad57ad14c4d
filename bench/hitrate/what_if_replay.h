// What the what-if curves say of one trace, beside what replays measure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bench/hitrate/policies.h"
#include "bench/hitrate/sweep.h"
#include "cachestore/trace/trace.h"

namespace reprise::bench {

struct WhatIfSweep {
  struct Point {
    double factor = 1;     // of the capacities
    double predicted = 0;  // ratio of block hits
    double measured = 0;   // by a replay with so much
  };
  struct Line {
    std::string policy;
    std::string tier;  // "ram", which is the last one, or "disk": RAM and disk
    std::vector<Point> points;
    double sampling_rate = 0;

    double LargestError() const;
  };
  std::string trace;
  std::vector<Line> lines;
};

// Replays the trace at the capacities that the store has, with a curve that watches, and at half,
// twice and four times those, for LRU and the store's default policy: RAM alone, of kWhatIfRam % of
// the trace's different blocks, and with a disk of kWhatIfDisk %. Calls `step` before each. BLOCKS.
inline constexpr double kWhatIfRam = 5;
inline constexpr double kWhatIfDisk = 10;
WhatIfSweep RunWhatIf(const cachestore::Trace& trace, const SweepStep& step);

}  // namespace reprise::bench
