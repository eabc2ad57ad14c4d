// Sampler: the next token from logits. Pure functions, thread-safe.
//
// Filters come in Hugging Face's order: temperature, then top-k, then top-p. The random number of a
// draw is a function of (seed, position) alone, so that a request's tokens do not depend on what
// else is in the batch, on how its prefill was chunked, or on how much of it was cached.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/sched/request.h"

namespace reprise::engine {

// kInvalidArgument names the parameter that is out of range.
absl::Status ValidateSampling(const SamplingParams& params);

// The token at `position` of its sequence, from the logits [vocab_size] of the token before it.
// Equal logits are ranked by token id, lowest first; temperature 0 takes the first.
// kInternal: a logit is NaN or +infinity, or none is finite.
// REQUIRES: ValidateSampling(params) is OK; logits is not empty.
absl::StatusOr<uint32_t> SampleToken(absl::Span<const float> logits, const SamplingParams& params,
                                     int64_t position);

}  // namespace reprise::engine
