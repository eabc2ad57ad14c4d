#include "engine/run/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cachestore/base/check.h"

namespace reprise::engine {
namespace {

struct Candidate {
  float logit;
  uint32_t token;
};

// True when `a` ranks behind `b`.
bool RanksBehind(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit < b.logit : a.token > b.token;
}

// SplitMix64's output function: every bit of the result depends on every bit of `x`.
uint64_t Mix(uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9u;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// Uniform in [0, 1), from the `position`th state of the SplitMix64 generator of `seed`.
double Uniform(uint64_t seed, int64_t position) {
  // The seed is mixed first: neighbouring seeds must not give shifted copies of one sequence.
  const uint64_t state =
      Mix(seed + 0x632be59bd9b4e019u) + static_cast<uint64_t>(position + 1) * 0x9e3779b97f4a7c15u;
  return static_cast<double>(Mix(state) >> 11) * 0x1.0p-53;
}

absl::Status CheckLogits(absl::Span<const float> logits) {
  bool any_finite = false;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (std::isnan(logits[i]) || logits[i] == std::numeric_limits<float>::infinity()) {
      return absl::InternalError(
          absl::StrCat("the model gave the logit ", logits[i], " for token ", i));
    }
    any_finite |= std::isfinite(logits[i]);
  }
  if (!any_finite) return absl::InternalError("the model gave no finite logit");
  return absl::OkStatus();
}

uint32_t ArgMax(absl::Span<const float> logits) {
  return static_cast<uint32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

// Weight of a candidate relative to the best one, whose logit is `max`. In double, so that neither
// a large vocabulary nor a tiny temperature loses the small weights.
double Weight(float logit, float max, float temperature) {
  return std::exp((static_cast<double>(logit) - max) / temperature);
}

// All candidates, or the top_k best of them.
std::vector<Candidate> TopK(absl::Span<const float> logits, int32_t top_k) {
  std::vector<Candidate> candidates;
  candidates.reserve(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) {
    candidates.push_back({logits[i], static_cast<uint32_t>(i)});
  }
  if (top_k > 0 && static_cast<size_t>(top_k) < candidates.size()) {
    // Sorted, so that the outcome of a draw does not depend on how a library partitions.
    std::partial_sort(candidates.begin(), candidates.begin() + top_k, candidates.end(),
                      [](const Candidate& a, const Candidate& b) { return RanksBehind(b, a); });
    candidates.resize(top_k);
  }
  return candidates;
}

// The best candidates in rank order, until they have `share` of the total weight; at least one. A
// heap is popped instead of everything sorted: they are usually few of a large vocabulary.
std::vector<Candidate> TopP(std::vector<Candidate> candidates, float temperature, double share) {
  std::make_heap(candidates.begin(), candidates.end(), RanksBehind);
  const float max = candidates.front().logit;
  double total = 0;
  for (const Candidate& c : candidates) total += Weight(c.logit, max, temperature);
  std::vector<Candidate> kept;
  double sum = 0;
  while (!candidates.empty() && (kept.empty() || sum < share * total)) {
    std::pop_heap(candidates.begin(), candidates.end(), RanksBehind);
    kept.push_back(candidates.back());
    candidates.pop_back();
    sum += Weight(kept.back().logit, max, temperature);
  }
  return kept;
}

// The candidate at `uniform` in [0, 1) of the total weight.
uint32_t Draw(absl::Span<const Candidate> candidates, float temperature, double uniform) {
  const float max = std::max_element(candidates.begin(), candidates.end(), RanksBehind)->logit;
  double total = 0;
  for (const Candidate& c : candidates) total += Weight(c.logit, max, temperature);
  double left = uniform * total;
  uint32_t last_possible = candidates.front().token;
  for (const Candidate& c : candidates) {
    const double weight = Weight(c.logit, max, temperature);
    if (weight == 0) continue;
    last_possible = c.token;
    left -= weight;
    if (left < 0) break;
  }
  return last_possible;  // by rounding the loop may end with `left` at zero
}

}  // namespace

absl::Status ValidateSampling(const SamplingParams& params) {
  if (!(params.temperature >= 0) || !std::isfinite(params.temperature)) {
    return absl::InvalidArgumentError(
        absl::StrCat("temperature is ", params.temperature, "; it must be finite and at least 0"));
  }
  if (params.top_k < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("top_k is ", params.top_k, "; it must be 0 (off) or positive"));
  }
  if (!(params.top_p > 0 && params.top_p <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("top_p is ", params.top_p, "; it must be above 0 and at most 1"));
  }
  return absl::OkStatus();
}

absl::StatusOr<uint32_t> SampleToken(absl::Span<const float> logits, const SamplingParams& params,
                                     int64_t position) {
  CHECK(!logits.empty());
  if (absl::Status status = CheckLogits(logits); !status.ok()) return status;
  if (params.temperature == 0) return ArgMax(logits);
  std::vector<Candidate> candidates = TopK(logits, params.top_k);
  if (params.top_p < 1) {
    candidates = TopP(std::move(candidates), params.temperature, params.top_p);
  }
  return Draw(candidates, params.temperature, Uniform(params.seed, position));
}

}  // namespace reprise::engine
