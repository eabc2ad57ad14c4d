// Load or recompute: what a caller that knows its prefill rate is told to take from the cache. The
// engine's own choice (engine/sched/load_choice.h), for engines elsewhere. Pure functions.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "api/session/lease_stats.h"
#include "cachestore/store/load_forecast.h"
#include "reprise/v1/cache.pb.h"

namespace reprise::api {

namespace v1 = ::reprise::v1;

struct Advice {
  v1::LoadAdvice advice = v1::LOAD_ADVICE_UNSPECIFIED;
  int64_t num_blocks = 0;    // to load, from the first that is wanted on
  absl::Duration per_block;  // that computing one takes
};

// Of the matched blocks from `first_block` on, so many that loading them and computing those behind
// them are predicted to be over soonest; where there is a deadline, only so many as nine of ten
// loads would have loaded by then. kInvalidArgument: a field of the estimate is out of range.
absl::StatusOr<Advice> Advise(const cachestore::LoadForecast& forecast, int64_t first_block,
                              int32_t block_tokens, const v1::PrefillEstimate& estimate);

// How long loading the matched blocks [first_block, first_block + num_blocks) is predicted to take.
v1::LoadTime PredictLoad(const cachestore::LoadForecast& forecast, int64_t first_block,
                         int64_t num_blocks);

// What was said of a load when it began.
struct PromisedLoad {
  bool foretold = false;  // there was something to load, and loads to go by
  absl::Time begin;
  absl::Duration p50;
  absl::Duration p90;
  // Of the same blocks. Infinite, so that nothing is regretted, where no advice was asked for or
  // more is loaded than was advised: that is the caller's own choice.
  absl::Duration recompute = absl::InfiniteDuration();
};

PromisedLoad PromiseOf(const cachestore::LoadForecast& forecast, const v1::LoadTime& predicted,
                       absl::Time begin);

// Counts a load that has ended at `end`.
void CountLoad(const PromisedLoad& promised, absl::Time end, LeaseStats& stats);

}  // namespace reprise::api
