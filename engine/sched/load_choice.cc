#include "engine/sched/load_choice.h"

#include <algorithm>

namespace reprise::engine {

using cachestore::LoadForecast;

namespace {

// A load is not given up sooner: timers and threads are late by as much now and then.
constexpr absl::Duration kLeastPatience = absl::Milliseconds(20);

}  // namespace

LoadChoice ChooseLoad(const LoadForecast& load, int64_t first_block,
                      const ComputeForecast& compute) {
  const int64_t matched =
      std::max<int64_t>(static_cast<int64_t>(load.needs_load.size()) - first_block, 0);
  absl::Duration best = absl::InfiniteDuration();
  int64_t chosen = 0;
  int64_t chosen_loads = 0;
  int64_t chosen_copies = 0;
  int64_t loads = 0;
  int64_t copies = 0;
  for (int64_t n = 0; n <= matched; ++n) {
    if (n > 0) {
      const int64_t block = first_block + n - 1;
      loads += load.needs_load[block] ? 1 : 0;
      copies += !load.needs_copy.empty() && load.needs_copy[block] ? 1 : 0;
    }
    // Copies are not in it: they take little, and go on while the rest is loaded.
    const absl::Duration time =
        std::max(load.median.For(loads), compute.queue) + compute.per_block * (matched - n);
    // Of equals the longest: what is not computed leaves the processor to others.
    if (time > best) continue;
    best = time;
    chosen = n;
    chosen_loads = loads;
    chosen_copies = copies;
  }
  LoadChoice choice = {
      .num_blocks = chosen,
      .passed_over_blocks = matched - chosen,
      .patience = std::max(kLeastPatience, compute.queue + compute.per_block * chosen)};
  const bool is_known =
      (chosen_loads == 0 || load.measured) && (chosen_copies == 0 || load.copy.measured);
  if (compute.is_alone && is_known && chosen_loads + chosen_copies > 0) {
    choice.order = cachestore::LoadOrder::kByLayer;
    choice.arrival_patience =
        kLeastPatience + 2 * (load.p90.For(chosen_loads) + load.copy.p90.For(chosen_copies));
  }
  return choice;
}

}  // namespace reprise::engine
