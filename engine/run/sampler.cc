#include "engine/run/sampler.h"

#include "cachestore/base/status_macros.h"
#include "engine/run/logprobs.h"

namespace reprise::engine {

absl::StatusOr<SampledToken> Sampler::Sample(const SamplingParams& params,
                                             absl::Span<const uint32_t> tokens,
                                             int64_t prompt_tokens, absl::Span<float> logits) {
  adjuster_.Apply(params, tokens, prompt_tokens, logits);
  const absl::StatusOr<uint32_t> token =
      draw_.Draw(params, static_cast<int64_t>(tokens.size()), logits);
  adjuster_.Undo(logits);
  RETURN_IF_ERROR(token.status());
  SampledToken sampled = {.token = *token};
  if (params.top_logprobs.has_value()) {
    sampled.logprobs = LogprobsOf(logits, *token, *params.top_logprobs);
  }
  return sampled;
}

}  // namespace reprise::engine
