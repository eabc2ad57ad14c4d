#include "api/session/load_advice.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/sched/load_choice.h"

namespace reprise::api {

using cachestore::LoadForecast;

namespace {

// How many of the blocks from `first_block` on must be loaded.
int64_t LoadsOf(const LoadForecast& forecast, int64_t first_block, int64_t num_blocks) {
  if (num_blocks == 0) return 0;  // the first may lie behind what is matched
  const auto begin = forecast.needs_load.begin() + first_block;
  return std::count(begin, begin + num_blocks, true);
}

// The same forecast for as many leading blocks as are likely there after `deadline`.
LoadForecast Within(LoadForecast forecast, int64_t first_block, absl::Duration deadline) {
  int64_t loads = 0;
  size_t end = static_cast<size_t>(first_block);
  for (; end < forecast.needs_load.size(); ++end) {
    if (forecast.needs_load[end] && forecast.p90.For(++loads) > deadline) break;
  }
  forecast.needs_load.resize(end);
  return forecast;
}

int64_t Microseconds(absl::Duration duration) { return absl::ToInt64Microseconds(duration); }

}  // namespace

absl::StatusOr<Advice> Advise(const LoadForecast& forecast, int64_t first_block,
                              int32_t block_tokens, const v1::PrefillEstimate& estimate) {
  const double rate = estimate.tokens_per_second();
  if (!std::isfinite(rate) || rate <= 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("prefill.tokens_per_second is ", rate, "; it must be above 0"));
  }
  const double deadline = estimate.deadline_seconds();
  if (!std::isfinite(deadline) || deadline < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("prefill.deadline_seconds is ", deadline, "; it must not be negative"));
  }
  Advice advice = {.per_block = absl::Seconds(block_tokens / rate)};
  const int64_t cached = static_cast<int64_t>(forecast.needs_load.size()) - first_block;
  if (cached > 0) {
    advice.num_blocks =
        engine::ChooseLoad(
            deadline == 0 ? forecast : Within(forecast, first_block, absl::Seconds(deadline)),
            first_block, {.queue = absl::ZeroDuration(), .per_block = advice.per_block})
            .num_blocks;
  }
  advice.advice = advice.num_blocks == 0        ? v1::LOAD_ADVICE_RECOMPUTE
                  : advice.num_blocks == cached ? v1::LOAD_ADVICE_LOAD
                                                : v1::LOAD_ADVICE_LOAD_SOME;
  return advice;
}

v1::LoadTime PredictLoad(const LoadForecast& forecast, int64_t first_block, int64_t num_blocks) {
  const int64_t loads = LoadsOf(forecast, first_block, num_blocks);
  v1::LoadTime time;
  time.set_p50_seconds(absl::ToDoubleSeconds(forecast.median.For(loads)));
  time.set_p90_seconds(absl::ToDoubleSeconds(forecast.p90.For(loads)));
  return time;
}

PromisedLoad PromiseOf(const LoadForecast& forecast, const v1::LoadTime& predicted,
                       absl::Time begin) {
  return {.foretold = forecast.measured && predicted.p50_seconds() > 0,
          .begin = begin,
          .p50 = absl::Seconds(predicted.p50_seconds()),
          .p90 = absl::Seconds(predicted.p90_seconds())};
}

void CountLoad(const PromisedLoad& promised, absl::Time end, LeaseStats& stats) {
  if (!promised.foretold) return;
  const absl::Duration took = end - promised.begin;
  stats.Add(&LeaseStats::Values::foretold_loads, 1);
  stats.Add(&LeaseStats::Values::foretold_load_us, Microseconds(promised.p50));
  stats.Add(&LeaseStats::Values::real_load_us, Microseconds(took));
  if (took > promised.p90) stats.Add(&LeaseStats::Values::late_loads, 1);
  if (took <= promised.recompute) return;
  stats.Add(&LeaseStats::Values::regretted_loads, 1);
  stats.Add(&LeaseStats::Values::advice_regret_us, Microseconds(took - promised.recompute));
}

}  // namespace reprise::api
