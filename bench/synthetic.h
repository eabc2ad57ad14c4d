// Synthetic: the namespaces and prompts that the store's benchmarks make up, the same in every run.
// A prompt is named by the number of its chain. Pure functions, but for Random.
#pragma once

#include <cstdint>
#include <vector>

#include "cachestore/block/block_key.h"
#include "cachestore/block/namespace_identity.h"

namespace reprise::bench {

// Tokens of a block in every benchmark of the store: the smallest common size, and so the hardest.
inline constexpr int32_t kBlockTokens = 16;

// A namespace with blocks of `block_bytes`, a multiple of 4 KiB up to 16 MiB.
cachestore::NamespaceIdentity SyntheticIdentity(int64_t block_bytes);

// The first `num_tokens` token ids of chain `chain`. Chains differ from their first block on.
std::vector<cachestore::TokenId> SyntheticTokens(uint64_t chain, int64_t num_tokens);

// The token ids of block `block` of chain `chain`, written to `tokens`.
void FillBlockTokens(uint64_t chain, int64_t block, cachestore::TokenId (&tokens)[kBlockTokens]);

// Lengths in blocks of as many chains as `num_blocks` make, taken from `lengths` in turn; the last
// one may be cut short.
std::vector<int64_t> ChainLengths(const std::vector<int64_t>& lengths, int64_t num_blocks);

// Random numbers that are the same in every run. Thread-compatible.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next();
  // Uniform in [0, bound).
  int64_t Below(int64_t bound);

 private:
  uint64_t state_;
};

}  // namespace reprise::bench
