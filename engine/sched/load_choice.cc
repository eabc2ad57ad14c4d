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
  int64_t loads = 0;
  for (int64_t n = 0; n <= matched; ++n) {
    if (n > 0) loads += load.needs_load[first_block + n - 1] ? 1 : 0;
    const absl::Duration time =
        std::max(load.median.For(loads), compute.queue) + compute.per_block * (matched - n);
    // Of equals the longest: what is not computed leaves the processor to others.
    if (time > best) continue;
    best = time;
    chosen = n;
    chosen_loads = loads;
  }
  LoadChoice choice = {
      .num_blocks = chosen,
      .passed_over_blocks = matched - chosen,
      .patience = std::max(kLeastPatience, compute.queue + compute.per_block * chosen)};
  if (compute.is_alone && load.measured && chosen_loads > 0) {
    choice.order = cachestore::LoadOrder::kByLayer;
    choice.arrival_patience = kLeastPatience + 2 * load.p90.For(chosen_loads);
  }
  return choice;
}

}  // namespace reprise::engine
