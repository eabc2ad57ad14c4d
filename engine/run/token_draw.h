// TokenDraw: draws a token from adjusted logits by temperature, top-k, top-p and min-p.
//
// They act in this order, Hugging Face's: top-p is a share of what top-k left, at the temperature;
// min-p is measured by the likeliest token and takes from what top-p left. The random number of a
// draw is a function of (seed, position) alone.
//
// Floor: one pass over the logits for the largest, one exp for each that can be drawn. A weight
// below 2^-64 of the best one's is taken for zero: all of them together are less than the step of
// the random number.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/run/top_logits.h"
#include "engine/sched/request.h"

namespace reprise::engine {

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
  // Fills candidates_ with the top_k best logits, best first.
  void TakeTopK(absl::Span<const float> logits, int32_t top_k);
  // Fills candidates_ with the logits from `least` on, by token.
  void TakeAll(absl::Span<const float> logits, double least);
  // Moves to the front, of the first `count` candidates, the fewest best whose weight reaches
  // `wanted`: at least one, at most all. The last of them ranks last; the others are in any order.
  Prefix SelectBest(size_t count, double wanted);
  // The candidate at `uniform` in [0, 1) of the weight: of all of them as they lie, or of the
  // fewest best that have the share `top_p` of it, in rank order; without those of less than
  // `min_p`. Drops candidates.
  uint32_t DrawFromAll(double uniform, double min_p);
  uint32_t DrawFromBest(double uniform, double top_p, double min_p);

  std::vector<Candidate> candidates_;
  std::vector<RankedLogit> ranked_;
};

}  // namespace reprise::engine
