// ValidateSampling: the ranges of sampling parameters. Pure, thread-safe.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "engine/sched/request.h"

namespace reprise::engine {

// Most tokens of a logit_bias, and most of top_logprobs: OpenAI's limits.
inline constexpr int64_t kMaxLogitBiases = 1024;
inline constexpr int32_t kMaxTopLogprobs = 20;

// kInvalidArgument names the parameter that is out of range, its value and the range.
absl::Status ValidateSampling(const SamplingParams& params, int64_t vocab_size);

}  // namespace reprise::engine
