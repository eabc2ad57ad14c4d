// What sweeps of several traces come to, for one policy. Pure functions. Sweeps in which the policy
// has no line do not count.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bench/hitrate/sweep.h"

namespace reprise::bench {

// The share of the gap between LRU and the optimum that the policy closes, pooled: what it has
// above LRU, in block hit ratio, summed over traces and the pooled capacities, over the same of the
// optimum. nullopt: there is no gap in these sweeps.
std::optional<double> GapClosed(const std::vector<Sweep>& sweeps, const std::string& policy);
// The same of one cell.
std::optional<double> GapClosedIn(const Sweep& sweep, const SweepCell& cell, size_t capacity);

// Where the policy is worst beside LRU.
struct WorstCell {
  double points = 0;  // of block hit ratio above LRU; negative: below
  std::string trace;
  double percent = 0;
};
std::optional<WorstCell> WorstBesideLru(const std::vector<Sweep>& sweeps,
                                        const std::string& policy);

// What the policy's replays at the pooled capacities were and took.
struct ReplayCost {
  int64_t requests = 0;
  int64_t blocks = 0;
  double seconds = 0;
  double index_seconds = 0;  // of these, not in the policy
};
ReplayCost CostOf(const Sweep& sweep, const std::string& policy);

// The least of SweepCell::lru_memory at capacities up to `most_percent`; a cell that LRU never
// reaches counts as the whole trace. nullopt: there is no such cell.
std::optional<double> LeastLruMemory(const Sweep& sweep, const std::string& policy,
                                     double most_percent);

}  // namespace reprise::bench
