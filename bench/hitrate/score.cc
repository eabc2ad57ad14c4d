#include "bench/hitrate/score.h"

#include <algorithm>
#include <iterator>

namespace reprise::bench {
namespace {

// The policy's line; null: there is none.
const Sweep::Line* FindLine(const Sweep& sweep, const std::string& policy) {
  const auto it = std::find_if(sweep.lines.begin(), sweep.lines.end(),
                               [&](const Sweep::Line& line) { return line.policy == policy; });
  return it == sweep.lines.end() ? nullptr : &*it;
}

double AboveLru(const Sweep& sweep, const Tally& tally, size_t capacity) {
  return tally.block_ratio() - sweep.LruRatio(capacity);
}

}  // namespace

std::optional<double> GapClosed(const std::vector<Sweep>& sweeps, const std::string& policy) {
  double closed = 0;
  double gap = 0;
  for (const Sweep& sweep : sweeps) {
    const Sweep::Line* const line = FindLine(sweep, policy);
    if (line == nullptr) continue;
    for (size_t c = 0; c < sweep.percents.size(); ++c) {
      if (!IsPooled(sweep.percents[c])) continue;
      closed += AboveLru(sweep, line->cells[c].tally, c);
      gap += AboveLru(sweep, sweep.optimum[c], c);
    }
  }
  if (gap <= 0) return std::nullopt;
  return closed / gap;
}

std::optional<double> GapClosedIn(const Sweep& sweep, const SweepCell& cell, size_t capacity) {
  const double gap = AboveLru(sweep, sweep.optimum[capacity], capacity);
  if (gap <= 0) return std::nullopt;
  return AboveLru(sweep, cell.tally, capacity) / gap;
}

std::optional<WorstCell> WorstBesideLru(const std::vector<Sweep>& sweeps,
                                        const std::string& policy) {
  std::optional<WorstCell> worst;
  for (const Sweep& sweep : sweeps) {
    const Sweep::Line* const line = FindLine(sweep, policy);
    if (line == nullptr) continue;
    for (size_t c = 0; c < sweep.percents.size(); ++c) {
      const double points = 100 * AboveLru(sweep, line->cells[c].tally, c);
      if (worst.has_value() && worst->points <= points) continue;
      worst = {.points = points, .trace = sweep.trace, .percent = sweep.percents[c]};
    }
  }
  return worst;
}

ReplayCost CostOf(const Sweep& sweep, const std::string& policy) {
  const Sweep::Line* const line = FindLine(sweep, policy);
  ReplayCost cost;
  for (size_t c = 0; line != nullptr && c < sweep.percents.size(); ++c) {
    if (!IsPooled(sweep.percents[c])) continue;
    cost.requests += line->cells[c].tally.requests;
    cost.blocks += line->cells[c].tally.blocks;
    cost.seconds += line->cells[c].seconds;
    cost.index_seconds += line->cells[c].index_seconds;
  }
  return cost;
}

std::optional<double> LeastLruMemory(const Sweep& sweep, const std::string& policy,
                                     double most_percent) {
  const Sweep::Line* const line = FindLine(sweep, policy);
  std::optional<double> least;
  for (size_t c = 0; line != nullptr && c < sweep.percents.size(); ++c) {
    if (sweep.percents[c] > most_percent) continue;
    const double whole =
        static_cast<double>(sweep.num_blocks) / static_cast<double>(sweep.capacities[c]);
    const double memory = line->cells[c].lru_memory.value_or(whole);
    least = std::min(least.value_or(memory), memory);
  }
  return least;
}

}  // namespace reprise::bench
