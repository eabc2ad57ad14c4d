#include "engine/model/demo_variety.h"

#include <algorithm>
#include <cstddef>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "cachestore/base/status_macros.h"

namespace reprise::engine {
namespace {

constexpr size_t kFewestDistinct = 20;
constexpr size_t kLongestPeriod = 4;
constexpr size_t kLongestStretch = 16;
constexpr int32_t kBlockTokens = 16;
constexpr int64_t kCheckedTokens = 200;
constexpr absl::string_view kPrompt =
    "Once upon a time there was a cache that remembered everything.";

}  // namespace

absl::Status CheckVariety(absl::Span<const uint32_t> tokens) {
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

absl::StatusOr<std::vector<uint32_t>> GreedyTokens(Model* model, absl::Span<const uint32_t> prompt,
                                                   int64_t count) {
  const cachestore::KvLayout layout = model->layout(kBlockTokens);
  const size_t num_blocks = (prompt.size() + count + kBlockTokens - 1) / kBlockTokens;
  std::vector<std::vector<std::byte>> memory(num_blocks);
  std::vector<std::byte*> blocks;
  for (std::vector<std::byte>& block : memory) {
    block.resize(layout.BytesPerBlock());
    blocks.push_back(block.data());
  }
  std::vector<uint32_t> tokens(prompt.begin(), prompt.end());
  std::vector<float> logits(model->config().vocab_size);
  int64_t computed = 0;
  for (int64_t i = 0; i < count; ++i) {
    const SequenceChunk chunk = {absl::MakeConstSpan(tokens).subspan(computed), computed, blocks,
                                 true};
    RETURN_IF_ERROR(model->Forward({chunk}, layout, absl::MakeSpan(logits)));
    computed = static_cast<int64_t>(tokens.size());
    tokens.push_back(
        static_cast<uint32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
  }
  tokens.erase(tokens.begin(), tokens.begin() + static_cast<int64_t>(prompt.size()));
  return tokens;
}

absl::Status CheckGreedyVariety(Model* model) {
  const std::vector<uint32_t> prompt(kPrompt.begin(), kPrompt.end());
  ASSIGN_OR_RETURN(const std::vector<uint32_t> tokens, GreedyTokens(model, prompt, kCheckedTokens));
  return CheckVariety(tokens);
}

}  // namespace reprise::engine
