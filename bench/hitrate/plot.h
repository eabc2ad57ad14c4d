// Plots of sweeps as SVG.
#pragma once

#include <string>
#include <vector>

#include "bench/hitrate/sweep.h"
#include "bench/hitrate/tally.h"

namespace reprise::bench {

// A panel a trace: hit ratio over capacity (logarithmic), a line a policy, the optimum above
// them and the infinite cache as a level. REQUIRES: the sweeps have the same policies.
std::string PlotSvg(const std::vector<Sweep>& sweeps, Figure figure);

}  // namespace reprise::bench
