// Log probabilities of tokens in the model's own distribution. Pure, thread-safe.
#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "engine/sched/request.h"

namespace reprise::engine {

// Of `chosen` and of the `num_top` likeliest tokens, fewer where the others cannot come, under the
// softmax of `logits` [vocab_size]. Equals are ranked by token id, lowest first.
// REQUIRES: no logit is NaN or +infinity; that of `chosen` is finite.
TokenLogprobs LogprobsOf(absl::Span<const float> logits, uint32_t chosen, int32_t num_top);

}  // namespace reprise::engine
