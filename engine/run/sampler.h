// Sampler: the next token from a row of logits, and what is to be said about it.
//
// Parameters act in this order:
//
//     logit bias, repetition, frequency, presence    LogitAdjuster
//     temperature, top-k, top-p, min-p, random draw  TokenDraw
//
// Bias and penalties come in vLLM's order (v1/sample/sampler.py; transformers has the first two, in
// the same order), the others in transformers' (GenerationMixin._get_logits_processor). vLLM does
// min-p before top-k and top-p instead; that differs only under top-p, whose share is then of less.
// Log probabilities are the model's own, of the logits before any of these: vLLM's default
// (logprobs_mode raw_logprobs), and the one choice by which those of equal prefixes are comparable
// between requests.
//
// A token depends on logits, parameters, the tokens before it and their number alone: not on what
// else is in the batch, on how prefill was chunked, or on how much of it was cached.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/run/logit_adjuster.h"
#include "engine/run/token_draw.h"
#include "engine/sched/request.h"

namespace reprise::engine {

struct SampledToken {
  uint32_t token = 0;
  std::optional<TokenLogprobs> logprobs;  // set when SamplingParams::top_logprobs is
};

// Keeps buffers from call to call, and nothing else. Thread-compatible.
class Sampler {
 public:
  // The token that follows `tokens`, of which the first `prompt_tokens` are the prompt, from the
  // `logits` [vocab_size] of the last of them. They are written to, but as before on return.
  // kInternal: a logit is NaN or +infinity, or none is finite.
  // REQUIRES: ValidateSampling() accepts `params`; `tokens` are below vocab_size.
  absl::StatusOr<SampledToken> Sample(const SamplingParams& params,
                                      absl::Span<const uint32_t> tokens, int64_t prompt_tokens,
                                      absl::Span<float> logits);

 private:
  LogitAdjuster adjuster_;
  TokenDraw draw_;
};

}  // namespace reprise::engine
