// Sampler: the next token from logits.
//
// Filters come in Hugging Face's order: temperature, then top-k, then top-p. The random number of a
// draw is a function of (seed, position) alone, so that a request's tokens do not depend on what
// else is in the batch, on how its prefill was chunked, or on how much of it was cached.
//
// Floor: one pass over the logits for the largest, one exp for each that can be drawn. A weight
// below 2^-64 of the best one's is taken for zero: all of them together are less than the step of
// the random number.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/sched/request.h"

namespace reprise::engine {

// kInvalidArgument names the parameter that is out of range.
absl::Status ValidateSampling(const SamplingParams& params);

// Keeps buffers from call to call, and nothing else. Thread-compatible.
class Sampler {
 public:
  // The token at `position` of its sequence, from the logits [vocab_size] of the token before it.
  // Equal logits are ranked by token id, lowest first; temperature 0 takes the first.
  // kInternal: a logit is NaN or +infinity, or none is finite.
  // REQUIRES: ValidateSampling(params) is OK; logits is not empty.
  absl::StatusOr<uint32_t> Sample(absl::Span<const float> logits, const SamplingParams& params,
                                  int64_t position);

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
  // The candidate at `uniform` in [0, 1) of the weight: of all of them as they lie, or of the best
  // that have the share `top_p` of it, in rank order.
  uint32_t Draw(double uniform) const;
  uint32_t DrawTopP(double uniform, double top_p);

  std::vector<Candidate> candidates_;
};

}  // namespace reprise::engine
