// The best logits of a row, ranked. Pure, thread-safe.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace reprise::engine {

struct RankedLogit {
  float logit;
  uint32_t token;
};

// Fills `best` with the `count` best of `logits`, or all of them, best first; of equals the lowest
// token comes first. REQUIRES: count > 0; there are logits, and none is NaN.
void TakeTopLogits(absl::Span<const float> logits, int32_t count, std::vector<RankedLogit>* best);

}  // namespace reprise::engine
