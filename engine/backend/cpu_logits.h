// Passes over a row of logits, one value for each token of a vocabulary: what sampling needs of all
// of them. Each reads memory once. Sums are added up in f32 within a run of 1,024 values and in f64
// across runs; their last bits depend on the CPU's vector length. Pure, thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"

namespace reprise::engine {

struct LargestLogit {
  float value;
  bool usable;  // it is finite, and no logit is NaN or +infinity; else `value` means nothing
};
LargestLogit FindLargestLogit(absl::Span<const float> logits);

// The first index from `begin` on whose value is above `bound`; values.size() when there is none.
size_t FirstAbove(absl::Span<const float> values, size_t begin, float bound);

// Fills weights[i] with exp((logits[i] - largest) * inverse_temperature) and returns their sum.
// `weights`: as many as logits. REQUIRES: `largest` is finite and no logit is above it.
double ExpWeights(absl::Span<const float> logits, float largest, float inverse_temperature,
                  absl::Span<float> weights);
// The sum of exp(logits[i] - largest).
double SumOfExp(absl::Span<const float> logits, float largest);

// Of the weights that are at least `least`: their sum, and their indices, ascending, of which
// `indices` must have room for all and which are counted in the result.
double SumFrom(absl::Span<const float> weights, float least);
size_t IndicesFrom(absl::Span<const float> weights, float least, absl::Span<uint32_t> indices);

}  // namespace reprise::engine
