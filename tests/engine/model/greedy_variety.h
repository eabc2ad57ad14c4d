// Whether greedy text of a model is varied enough to test anything with it. Pure functions.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "cachestore/base/status_macros.h"
#include "engine/model/model.h"

namespace reprise::engine {

// kFailedPrecondition when `tokens` have collapsed: fewer than 20 distinct ones, or a stretch of 16
// that repeats with a period of at most 4. The error says which.
inline absl::Status CheckVariety(absl::Span<const uint32_t> tokens) {
  constexpr size_t kFewestDistinct = 20;
  constexpr size_t kLongestPeriod = 4;
  constexpr size_t kLongestStretch = 16;
  const std::set<uint32_t> distinct(tokens.begin(), tokens.end());
  if (distinct.size() < kFewestDistinct) {
    return absl::FailedPreconditionError(absl::StrCat("greedy text has only ", distinct.size(),
                                                      " distinct tokens in ", tokens.size()));
  }
  for (size_t period = 1; period <= kLongestPeriod; ++period) {
    size_t stretch = period;
    for (size_t i = period; i < tokens.size(); ++i) {
      stretch = tokens[i] == tokens[i - period] ? stretch + 1 : period;
      if (stretch >= kLongestStretch) {
        return absl::FailedPreconditionError(absl::StrCat("greedy text repeats itself every ",
                                                          period, " tokens from token ",
                                                          i + 1 - stretch, " on"));
      }
    }
  }
  return absl::OkStatus();
}

// The `count` greedy tokens after `prompt`, computed in one sequence with KV blocks of its own.
// End-of-sequence tokens do not end it. Errors as Model::Forward.
inline absl::StatusOr<std::vector<uint32_t>> GreedyTokens(Model* model,
                                                          absl::Span<const uint32_t> prompt,
                                                          int64_t count) {
  constexpr int32_t kBlockTokens = 16;
  const cachestore::KvLayout layout = model->layout(kBlockTokens);
  const size_t num_blocks = (prompt.size() + count + kBlockTokens - 1) / kBlockTokens;
  std::vector<std::vector<std::byte>> memory(num_blocks);
  std::vector<std::byte*> blocks;
  for (std::vector<std::byte>& block : memory) {
    block.resize(layout.BytesPerBlock());
    blocks.push_back(block.data());
  }
  std::vector<uint32_t> tokens(prompt.begin(), prompt.end());
  int64_t computed = 0;
  for (int64_t i = 0; i < count; ++i) {
    const SequenceChunk chunk = {absl::MakeConstSpan(tokens).subspan(computed), computed, blocks,
                                 true};
    ASSIGN_OR_RETURN(const Activations logits, model->Forward({chunk}, layout));
    computed = static_cast<int64_t>(tokens.size());
    tokens.push_back(static_cast<uint32_t>(
        std::max_element(logits.data, logits.data + logits.cols) - logits.data));
  }
  tokens.erase(tokens.begin(), tokens.begin() + static_cast<int64_t>(prompt.size()));
  return tokens;
}

// Checks the variety of 200 greedy tokens after a line of text of the demo tokenizer's bytes.
inline absl::Status CheckGreedyVariety(Model* model) {
  constexpr absl::string_view kPrompt =
      "Once upon a time there was a cache that remembered everything.";
  const std::vector<uint32_t> prompt(kPrompt.begin(), kPrompt.end());
  ASSIGN_OR_RETURN(const std::vector<uint32_t> tokens, GreedyTokens(model, prompt, 200));
  return CheckVariety(tokens);
}

}  // namespace reprise::engine
