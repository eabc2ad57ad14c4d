#include "engine/run/logprobs.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/run/top_logits.h"

namespace reprise::engine {
namespace {

// A softmax. In double: a large vocabulary has many small terms.
struct Softmax {
  explicit Softmax(absl::Span<const float> logits)
      : best(*std::max_element(logits.begin(), logits.end())) {
    double sum = 0;
    for (const float logit : logits) sum += std::exp(logit - best);
    log_sum = std::log(sum);
  }
  // `best` apart: the sum of both would lose log_sum where logits are huge.
  float LogprobOf(float logit) const { return static_cast<float>(logit - best - log_sum); }

  double best;
  double log_sum;  // of exp(logit - best)
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
