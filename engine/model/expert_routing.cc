#include "engine/model/expert_routing.h"

#include <cmath>

#include "cachestore/base/check.h"

namespace reprise::engine {
namespace {

// Sets `chosen` to the `count` experts with the largest logits, in any order.
void ChooseExperts(const float* logits, int64_t num_experts, int64_t count,
                   std::vector<bool>* chosen) {
  chosen->assign(num_experts, false);
  for (int64_t i = 0; i < count; ++i) {
    int64_t best = -1;
    for (int64_t e = 0; e < num_experts; ++e) {
      // The first that is left also stands where every comparison fails: with NaN.
      if (!(*chosen)[e] && (best < 0 || logits[e] > logits[best])) best = e;
    }
    (*chosen)[best] = true;
  }
}

}  // namespace

void RouteRows(Activations logits, const ExpertConfig& config, std::vector<RoutedRows>* out) {
  CHECK(logits.cols == config.count);
  CHECK(config.per_token >= 1 && config.per_token <= config.count);
  out->resize(config.count);
  for (RoutedRows& expert : *out) {
    expert.rows.clear();
    expert.weights.clear();
  }
  std::vector<bool> chosen;
  for (int64_t r = 0; r < logits.rows; ++r) {
    const float* row = logits.row(r);
    ChooseExperts(row, config.count, config.per_token, &chosen);
    float largest = row[0];
    for (int64_t e = 1; e < config.count; ++e) largest = std::fmax(largest, row[e]);
    float sum = 0;
    for (int64_t e = 0; e < config.count; ++e) {
      if (chosen[e] || !config.renormalize) sum += std::exp(row[e] - largest);
    }
    for (int64_t e = 0; e < config.count; ++e) {
      if (!chosen[e]) continue;
      (*out)[e].rows.push_back(r);
      (*out)[e].weights.push_back(std::exp(row[e] - largest) / sum);
    }
  }
}

}  // namespace reprise::engine
