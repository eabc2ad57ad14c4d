// Whether greedy text of a model is varied enough to demonstrate anything with it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/model/model.h"

namespace reprise::engine {

// kFailedPrecondition when `tokens` have collapsed: fewer than 20 distinct ones, or a stretch of 16
// that repeats with a period of at most 4. The error says which.
absl::Status CheckVariety(absl::Span<const uint32_t> tokens);

// The `count` greedy tokens after `prompt`, computed in one sequence with KV blocks of its own.
// End-of-sequence tokens do not end it. BLOCKS. Errors as Model::Forward.
absl::StatusOr<std::vector<uint32_t>> GreedyTokens(Model* model, absl::Span<const uint32_t> prompt,
                                                   int64_t count);

// Checks the variety of 200 greedy tokens after a line of text of the demo tokenizer's bytes.
// BLOCKS. Errors as CheckVariety and GreedyTokens.
absl::Status CheckGreedyVariety(Model* model);

}  // namespace reprise::engine
