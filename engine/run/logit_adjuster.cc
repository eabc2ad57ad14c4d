#include "engine/run/logit_adjuster.h"

#include <cstddef>

namespace reprise::engine {
namespace {

// Set in a token's count once its logit is done; an answer is never so long.
constexpr uint32_t kDone = uint32_t{1} << 31;

float Penalised(float logit, uint32_t answer_uses, const SamplingParams& params) {
  logit = logit > 0 ? logit / params.repetition_penalty : logit * params.repetition_penalty;
  if (answer_uses == 0) return logit;
  logit -= params.frequency_penalty * static_cast<float>(answer_uses);
  return logit - params.presence_penalty;
}

}  // namespace

void LogitAdjuster::Apply(const SamplingParams& params, absl::Span<const uint32_t> tokens,
                          int64_t prompt_tokens, absl::Span<float> logits) {
  changes_.clear();
  for (const auto& [token, bias] : params.logit_bias) {
    changes_.push_back({token, logits[token]});
    logits[token] += bias;
  }
  if (params.repetition_penalty != 1 || params.frequency_penalty != 0 ||
      params.presence_penalty != 0) {
    Penalise(params, tokens, prompt_tokens, logits);
  }
}

void LogitAdjuster::Penalise(const SamplingParams& params, absl::Span<const uint32_t> tokens,
                             int64_t prompt_tokens, absl::Span<float> logits) {
  answer_uses_.resize(logits.size());
  const absl::Span<const uint32_t> answer = tokens.subspan(static_cast<size_t>(prompt_tokens));
  for (const uint32_t token : answer) ++answer_uses_[token];
  const absl::Span<const uint32_t> penalised = params.repetition_penalty != 1 ? tokens : answer;
  for (const uint32_t token : penalised) {
    uint32_t& uses = answer_uses_[token];
    if ((uses & kDone) != 0) continue;
    changes_.push_back({token, logits[token]});
    logits[token] = Penalised(logits[token], uses, params);
    uses |= kDone;
  }
  for (const uint32_t token : penalised) answer_uses_[token] = 0;
}

void LogitAdjuster::Undo(absl::Span<float> logits) {
  // Backwards: a token with bias and penalty is there twice.
  for (auto change = changes_.rbegin(); change != changes_.rend(); ++change) {
    logits[change->token] = change->before;
  }
  changes_.clear();
}

}  // namespace reprise::engine
