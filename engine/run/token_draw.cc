#include "engine/run/token_draw.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "cachestore/base/check.h"

namespace reprise::engine {
namespace {

// Logits further below the best one, in units of the temperature, are never drawn: 64 ln 2.
constexpr double kNegligible = -44.361419555836499802;

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

// The largest logit, or why there is none. In one loop without branches: a vocabulary is large.
absl::StatusOr<float> Largest(absl::Span<const float> logits) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  float largest = -kInfinity;
  bool usable = true;
  for (const float logit : logits) {
    largest = logit > largest ? logit : largest;
    usable &= logit < kInfinity;  // false for NaN, too
  }
  if (usable && largest > -kInfinity) return largest;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] < kInfinity) continue;
    return absl::InternalError(
        absl::StrCat("the model gave the logit ", logits[i], " for token ", i));
  }
  return absl::InternalError("the model gave no finite logit");
}

}  // namespace

bool TokenDraw::RanksBefore(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

void TokenDraw::TakeTopK(absl::Span<const float> logits, int32_t top_k) {
  TakeTopLogits(logits, top_k, &ranked_);
  candidates_.clear();
  for (const RankedLogit& ranked : ranked_) candidates_.push_back({ranked.logit, ranked.token, 0});
}

void TokenDraw::TakeAll(absl::Span<const float> logits, double least) {
  candidates_.clear();
  for (size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] >= least) candidates_.push_back({logits[i], static_cast<uint32_t>(i), 0});
  }
}

TokenDraw::Prefix TokenDraw::SelectBest(size_t count, double wanted) {
  const auto at = [&](size_t i) { return candidates_.begin() + static_cast<int64_t>(i); };
  // Halves that lie before the answer are summed and left, those behind it are dropped: linear.
  constexpr size_t kSorted = 32;
  size_t begin = 0;
  size_t end = count;
  double weight = 0;
  while (end - begin > kSorted) {
    const size_t middle = begin + (end - begin) / 2;
    std::nth_element(at(begin), at(middle), at(end), RanksBefore);
    double half = 0;
    for (size_t i = begin; i < middle; ++i) half += candidates_[i].weight;
    if (weight + half >= wanted) {
      end = middle;
    } else {
      weight += half;
      begin = middle;
    }
  }
  std::sort(at(begin), at(end), RanksBefore);
  do {
    weight += candidates_[begin++].weight;
  } while (begin < end && weight < wanted);
  return {begin, weight};
}

uint32_t TokenDraw::DrawFromAll(double uniform, double min_p) {
  if (min_p > 0) std::erase_if(candidates_, [&](const Candidate& c) { return c.weight < min_p; });
  double left = 0;
  for (const Candidate& c : candidates_) left += c.weight;
  left *= uniform;
  uint32_t last_possible = candidates_.front().token;
  for (const Candidate& c : candidates_) {
    if (c.weight == 0) continue;
    last_possible = c.token;
    left -= c.weight;
    if (left < 0) break;
  }
  return last_possible;  // by rounding the loop may end with `left` at zero
}

uint32_t TokenDraw::DrawFromBest(double uniform, double top_p, double min_p) {
  double total = 0;
  for (const Candidate& c : candidates_) total += c.weight;
  // Those so light that all of them together are not needed: most of a vocabulary, as a rule. What
  // min-p drops may go now: both filters keep the best, and it has been counted.
  const double light = 0.5 * (1 - top_p) * total / static_cast<double>(candidates_.size());
  std::erase_if(candidates_,
                [&](const Candidate& c) { return c.weight <= light || c.weight < min_p; });
  const Prefix kept = SelectBest(candidates_.size(), top_p * total);
  // The first at which the sum of weights is above uniform x kept.weight.
  const double passed = uniform * kept.weight;
  const Prefix drawn =
      SelectBest(kept.count, std::nextafter(passed, std::numeric_limits<double>::infinity()));
  return candidates_[drawn.count - 1].token;
}

absl::StatusOr<uint32_t> TokenDraw::Draw(const SamplingParams& params, int64_t position,
                                         absl::Span<const float> logits) {
  CHECK(!logits.empty());
  const absl::StatusOr<float> largest = Largest(logits);
  if (!largest.ok()) return largest.status();
  if (params.temperature == 0) {
    return static_cast<uint32_t>(std::find(logits.begin(), logits.end(), *largest) -
                                 logits.begin());
  }
  // In double, so that neither a large vocabulary nor a tiny temperature loses the small weights.
  const double best = *largest;
  const double temperature = params.temperature;
  const bool limited = params.top_k > 0 && static_cast<size_t>(params.top_k) < logits.size();
  if (limited) {
    TakeTopK(logits, params.top_k);
  } else {
    TakeAll(logits, best + kNegligible * temperature);
  }
  for (Candidate& c : candidates_) {
    c.weight = std::exp((static_cast<double>(c.logit) - best) / temperature);
  }
  const double uniform = Uniform(params.seed, position);
  return params.top_p < 1 ? DrawFromBest(uniform, params.top_p, params.min_p)
                          : DrawFromAll(uniform, params.min_p);
}

}  // namespace reprise::engine
