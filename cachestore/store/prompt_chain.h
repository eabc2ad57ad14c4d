// PromptChain: the part of a prompt that a call is about, in whole blocks. Plain data.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "cachestore/base/check.h"
#include "cachestore/store/tiered_store.h"

namespace reprise::cachestore {

// What a range of a prompt depends on, cut to the prompt's full blocks.
struct PromptChain {
  absl::Span<const uint32_t> words;  // of the range and all before it
  size_t first_block = 0;            // where the range begins
};

inline PromptChain ChainOf(const NamespaceHandle& ns, const BlockContent& prompt,
                           BlockRange range) {
  CHECK(prompt.source() == ns.key_source && range.first >= 0);
  const int64_t full = static_cast<int64_t>(prompt.words().size()) / ns.block_words;
  const int64_t first = std::min(range.first, full);
  const int64_t end = first + std::clamp<int64_t>(range.count, 0, full - first);
  return {prompt.words().first(static_cast<size_t>(end * ns.block_words)),
          static_cast<size_t>(first)};
}

// Tokens of a prompt, those behind its last full block included.
inline int64_t TokensOf(const NamespaceHandle& ns, const BlockContent& prompt) {
  const auto words = static_cast<int64_t>(prompt.words().size());
  return ns.key_source == KeySource::kTokens ? words
                                             : words / ns.block_words * ns.layout.block_tokens;
}

}  // namespace reprise::cachestore
