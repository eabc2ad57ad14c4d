#include "engine/run/token_draw.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "cachestore/base/check.h"
#include "cachestore/base/status_macros.h"
#include "engine/backend/cpu_logits.h"

namespace reprise::engine {
namespace {

// Weights that are summed at once before a draw looks at each.
constexpr size_t kRun = 1024;
// How closely the search for top-p's least weight ends: what it takes too much is sorted out.
constexpr double kLeastPrecision = 1.2;

// SplitMix64's output function: every bit of the result depends on every bit of `x`.
uint64_t Mix(uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9u;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// The largest logit, or why there is none.
absl::StatusOr<float> Largest(absl::Span<const float> logits) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const LargestLogit largest = FindLargestLogit(logits);
  if (largest.usable) return largest.value;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] < kInfinity) continue;
    return absl::InternalError(
        absl::StrCat("the model gave the logit ", logits[i], " for token ", i));
  }
  return absl::InternalError("the model gave no finite logit");
}

}  // namespace

// From the `position`th state of the SplitMix64 generator of `seed`.
double DrawUniform(uint64_t seed, int64_t position) {
  // The seed is mixed first: neighbouring seeds must not give shifted copies of one sequence.
  const uint64_t state =
      Mix(seed + 0x632be59bd9b4e019u) + static_cast<uint64_t>(position + 1) * 0x9e3779b97f4a7c15u;
  return static_cast<double>(Mix(state) >> 11) * 0x1.0p-53;
}

bool TokenDraw::RanksBefore(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

double TokenDraw::TakeTopK(absl::Span<const float> logits, int32_t top_k, double temperature) {
  TakeTopLogits(logits, top_k, &ranked_);
  const double best = ranked_.front().logit;
  candidates_.clear();
  double total = 0;
  for (const RankedLogit& ranked : ranked_) {
    const double weight = std::exp((ranked.logit - best) / temperature);
    candidates_.push_back({ranked.logit, ranked.token, weight});
    total += weight;
  }
  return total;
}

float TokenDraw::LeastForTopP(double top_p, double total) const {
  // All that are lighter than this hold less than what top-p leaves out.
  double least = 0.5 * (1 - top_p) * total / static_cast<double>(weights_.size());
  double too_much = 1;  // or just enough
  while (too_much > kLeastPrecision * least) {
    const double middle = std::sqrt(least * too_much);
    const bool enough = SumFrom(weights_, static_cast<float>(middle)) >= top_p * total;
    (enough ? least : too_much) = middle;
  }
  return static_cast<float>(least);
}

void TokenDraw::TakeFrom(absl::Span<const float> logits, float least) {
  tokens_.resize(weights_.size());
  const size_t count = IndicesFrom(weights_, least, absl::MakeSpan(tokens_));
  candidates_.clear();
  for (size_t i = 0; i < count; ++i) {
    const uint32_t token = tokens_[i];
    candidates_.push_back({logits[token], token, weights_[token]});
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

uint32_t TokenDraw::DrawFromRow(double uniform, double total) const {
  const absl::Span<const float> row = weights_;
  double left = uniform * total;
  size_t begin = 0;
  for (; begin + kRun < row.size(); begin += kRun) {
    const double weight = SumFrom(row.subspan(begin, kRun), 0);
    if (left < weight) break;
    left -= weight;
  }
  size_t last_possible = FirstAbove(row, 0, 0);
  for (size_t i = begin; i < row.size() && left >= 0; ++i) {
    if (row[i] == 0) continue;
    last_possible = i;
    left -= row[i];
  }
  return static_cast<uint32_t>(last_possible);  // by rounding, `left` may still be positive
}

uint32_t TokenDraw::DrawFromBest(double uniform, double wanted) {
  const Prefix kept = SelectBest(candidates_.size(), wanted);
  // The first at which the sum of weights is above uniform x kept.weight.
  const double passed = uniform * kept.weight;
  const Prefix drawn =
      SelectBest(kept.count, std::nextafter(passed, std::numeric_limits<double>::infinity()));
  return candidates_[drawn.count - 1].token;
}

absl::StatusOr<uint32_t> TokenDraw::Draw(const SamplingParams& params, int64_t position,
                                         absl::Span<const float> logits) {
  CHECK(!logits.empty());
  ASSIGN_OR_RETURN(const float largest, Largest(logits));
  if (params.temperature == 0) {
    const float below = std::nextafter(largest, -std::numeric_limits<float>::infinity());
    return static_cast<uint32_t>(FirstAbove(logits, 0, below));
  }
  const double uniform = DrawUniform(params.seed, position);
  double total = 0;
  if (params.top_k > 0 && static_cast<size_t>(params.top_k) < logits.size()) {
    total = TakeTopK(logits, params.top_k, params.temperature);
  } else {
    // Finite, so that the largest logit's weight is 1 at any temperature.
    const float inverse_temperature =
        std::min(1 / params.temperature, std::numeric_limits<float>::max());
    weights_.resize(logits.size());
    total = ExpWeights(logits, largest, inverse_temperature, absl::MakeSpan(weights_));
    if (params.top_p == 1 && params.min_p == 0) return DrawFromRow(uniform, total);
    const float least = params.top_p < 1 ? LeastForTopP(params.top_p, total) : params.min_p;
    TakeFrom(logits, std::max(least, params.min_p));
  }
  // Top-p and min-p both keep the best: what min-p drops may go first, as `total` has counted it.
  std::erase_if(candidates_, [&](const Candidate& c) { return c.weight < params.min_p; });
  const double everything = std::numeric_limits<double>::infinity();
  return DrawFromBest(uniform, params.top_p < 1 ? params.top_p * total : everything);
}

}  // namespace reprise::engine
