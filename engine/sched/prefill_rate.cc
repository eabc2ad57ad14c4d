#include "engine/sched/prefill_rate.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "cachestore/base/weighted_quantile.h"

namespace reprise::engine {
namespace {

using cachestore::WeightedValue;

// Steps kept, and what each one weighs against the next younger one of its size.
constexpr size_t kKept = 32;
constexpr double kFading = 0.9;

}  // namespace

void PrefillRate::AddStep(int64_t prefill_tokens, int64_t decode_tokens, absl::Duration time) {
  if (prefill_tokens == 0 || prefill_tokens < decode_tokens || time <= absl::ZeroDuration()) return;
  const int64_t tokens = prefill_tokens + decode_tokens;
  for (const Step& step : steps_) {
    if (2 * tokens < step.tokens) return;
  }
  const auto is_small = [tokens](const Step& step) { return 2 * step.tokens < tokens; };
  steps_.erase(std::remove_if(steps_.begin(), steps_.end(), is_small), steps_.end());
  steps_.push_back({.tokens = tokens, .seconds = absl::ToDoubleSeconds(time)});
  if (steps_.size() > kKept) steps_.pop_front();
}

std::optional<absl::Duration> PrefillRate::PerToken() const {
  if (steps_.empty()) return std::nullopt;
  std::vector<WeightedValue> paces;
  double fading = 1;
  for (auto step = steps_.rbegin(); step != steps_.rend(); ++step) {
    const auto tokens = static_cast<double>(step->tokens);
    paces.push_back({step->seconds / tokens, tokens * fading});
    fading *= kFading;
  }
  return absl::Seconds(cachestore::WeightedQuantile(paces, 0.5));
}

int64_t PrefillRate::tokens_per_second() const {
  const std::optional<absl::Duration> per_token = PerToken();
  return per_token.has_value() ? std::llround(1 / absl::ToDoubleSeconds(*per_token)) : 0;
}

}  // namespace reprise::engine
