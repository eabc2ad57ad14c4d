#include "engine/run/logprobs.h"

#include <cmath>
#include <vector>

#include "engine/backend/cpu_logits.h"
#include "engine/run/top_logits.h"

namespace reprise::engine {
namespace {

struct Softmax {
  explicit Softmax(absl::Span<const float> logits)
      : best(FindLargestLogit(logits).value), log_sum(std::log(SumOfExp(logits, best))) {}
  // `best` apart, and in double: the sum of both would lose log_sum where logits are huge.
  float LogprobOf(float logit) const {
    return static_cast<float>(static_cast<double>(logit) - best - log_sum);
  }

  const float best;
  const double log_sum;  // of exp(logit - best)
};

}  // namespace

TokenLogprobs LogprobsOf(absl::Span<const float> logits, uint32_t chosen, int32_t num_top) {
  const Softmax softmax(logits);
  TokenLogprobs logprobs;
  logprobs.chosen = softmax.LogprobOf(logits[chosen]);
  if (num_top == 0) return logprobs;
  std::vector<RankedLogit> best;
  TakeTopLogits(logits, num_top, &best);
  for (const RankedLogit& ranked : best) {
    if (std::isinf(ranked.logit)) break;
    logprobs.top.push_back({ranked.token, softmax.LogprobOf(ranked.logit)});
  }
  return logprobs;
}

}  // namespace reprise::engine
