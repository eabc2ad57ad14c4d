// TokenDraw: draws a token from adjusted logits by temperature, top-k, top-p and min-p.
//
// They act in this order, Hugging Face's: top-p is a share of what top-k left, at the temperature;
// min-p is measured by the likeliest token and takes from what top-p left. The random number of a
// draw is a function of (seed, position) alone.
//
// Floor: reading the logits once. A plain draw reads them twice and their weights, which are f32,
// one and a half times; top-p reads the weights some ten times more, to find the few that matter.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/run/top_logits.h"
#include "engine/sched/request.h"

namespace reprise::engine {

// The random number of the draw at `position` of its sequence: uniform in [0, 1).
double DrawUniform(uint64_t seed, int64_t position);

// Keeps buffers from call to call, and nothing else. Thread-compatible.
class TokenDraw {
 public:
  // The token at `position` of its sequence, from `logits` [vocab_size].
  // Equal logits are ranked by token id, lowest first; temperature 0 takes the first.
  // kInternal: a logit is NaN or +infinity, or none is finite.
  // REQUIRES: ValidateSampling() accepts `params`; logits is not empty.
  absl::StatusOr<uint32_t> Draw(const SamplingParams& params, int64_t position,
                                absl::Span<const float> logits);

 private:
  struct Candidate {
    float logit;
    uint32_t token;
    double weight;  // relative to the best logit's, which is 1
  };

  // The candidates at the front, and their weight together.
  struct Prefix {
    size_t count;
    double weight;
  };

  static bool RanksBefore(const Candidate& a, const Candidate& b);
  // Fills candidates_ with the top_k best logits, best first. Returns their weight together.
  double TakeTopK(absl::Span<const float> logits, int32_t top_k, double temperature);
  // A weight, close to the least of those that hold the share `top_p` of `total`, that of weights_,
  // and not above it.
  float LeastForTopP(double top_p, double total) const;
  // Fills candidates_ with those of weights_ that are at least `least`, by token.
  void TakeFrom(absl::Span<const float> logits, float least);
  // Moves to the front, of the first `count` candidates, the fewest best whose weight reaches
  // `wanted`: at least one, at most all. The last of them ranks last; the others are in any order.
  Prefix SelectBest(size_t count, double wanted);
  // The token at `uniform` in [0, 1) of the weight: of `total`, that of weights_, by token; or of
  // the fewest best candidates whose weight reaches `wanted`, or all, by rank.
  uint32_t DrawFromRow(double uniform, double total) const;
  uint32_t DrawFromBest(double uniform, double wanted);

  std::vector<float> weights_;    // [vocab_size]
  std::vector<uint32_t> tokens_;  // of candidates
  std::vector<Candidate> candidates_;
  std::vector<RankedLogit> ranked_;
};

}  // namespace reprise::engine
