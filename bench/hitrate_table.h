// Sweeps of suite "hitrate" as tables for people.
#pragma once

#include <ostream>

#include "bench/hitrate/sweep.h"
#include "bench/hitrate/tally.h"
#include "bench/hitrate/tier_sweep.h"

namespace reprise::bench {

// Hit ratios in percent, a line a policy and a column a capacity, the bounds below.
void PrintSweep(const Sweep& sweep, Figure figure, std::ostream& out);

// Block hits by tier in percent of the requests' blocks, and what was written to disk.
void PrintTiers(const TierSweep& sweep, std::ostream& out);

}  // namespace reprise::bench
