// Tally: what a replay counts. Plain data.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cachestore/trace/trace.h"

namespace reprise::bench {

// Of a model of 70B parameters: at so many tokens before it, a token's attention costs as much as
// all its products.
inline constexpr int64_t kAttentionEqualsProducts = 53'000;

// What the prefill of the first `tokens` of a prompt costs, in tokens at position 0.
inline double PrefillCost(double tokens) {
  return tokens + tokens * (tokens - 1) / static_cast<double>(2 * kAttentionEqualsProducts);
}

// What a hit ratio is of.
enum class Figure { kBlocks, kTokens, kCost };

struct Tally {
  int64_t requests = 0;
  int64_t blocks = 0;  // of prompts
  int64_t hit_blocks = 0;
  int64_t tokens = 0;  // of prompts
  int64_t hit_tokens = 0;
  double cost = 0;  // of the prefill of all prompts, see PrefillCost
  double saved_cost = 0;

  // A lookup of `num_blocks` whose first `hits` were there. The last token of a prompt is always
  // computed, for the answer's first one comes from it, so no request has all of its tokens.
  void Add(const cachestore::TraceRequest& request, size_t num_blocks, size_t hits,
           int32_t block_tokens) {
    AddTokens(request, num_blocks, hits, static_cast<int64_t>(hits) * block_tokens);
  }
  // The same with the KV of `tokens_there` of its first tokens there.
  void AddTokens(const cachestore::TraceRequest& request, size_t num_blocks, size_t hits,
                 int64_t tokens_there) {
    const int64_t hit_tokens_of_it = std::min(tokens_there, int64_t{request.input_tokens} - 1);
    ++requests;
    blocks += static_cast<int64_t>(num_blocks);
    hit_blocks += static_cast<int64_t>(hits);
    tokens += request.input_tokens;
    hit_tokens += hit_tokens_of_it;
    cost += PrefillCost(request.input_tokens);
    saved_cost += PrefillCost(static_cast<double>(hit_tokens_of_it));
  }

  double block_ratio() const { return Ratio(hit_blocks, blocks); }
  double token_ratio() const { return Ratio(hit_tokens, tokens); }
  double cost_ratio() const { return cost > 0 ? saved_cost / cost : 0; }
  double ratio(Figure figure) const {
    return figure == Figure::kBlocks   ? block_ratio()
           : figure == Figure::kTokens ? token_ratio()
                                       : cost_ratio();
  }

 private:
  static double Ratio(int64_t part, int64_t whole) {
    return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0;
  }
};

}  // namespace reprise::bench
