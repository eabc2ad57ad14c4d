#include "bench/synthetic.h"

#include <algorithm>

#include "cachestore/base/check.h"

namespace reprise::bench {
namespace {

using cachestore::TokenId;

constexpr uint32_t kVocabulary = 128'000;
constexpr int64_t kLayerBytes = 4096;  // K and V of one layer: 2 x 16 tokens x 64 x 2 bytes

// The finalizer of SplitMix64: every bit of the result depends on every bit of `x`.
uint64_t Scramble(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

constexpr uint64_t kGolden = 0x9e3779b97f4a7c15;

TokenId TokenAt(uint64_t chain_seed, int64_t position) {
  const uint64_t random = Scramble(chain_seed + kGolden * static_cast<uint64_t>(position));
  return static_cast<TokenId>((random >> 32) * kVocabulary >> 32);
}

uint64_t SeedOf(uint64_t chain) { return Scramble((chain + 1) * kGolden); }

}  // namespace

cachestore::NamespaceIdentity SyntheticIdentity(int64_t block_bytes) {
  CHECK(block_bytes > 0 && block_bytes % kLayerBytes == 0);
  cachestore::NamespaceIdentity identity;
  identity.model_digest = "bench";
  identity.tokenizer_digest = "bench";
  identity.adapter_digest = "none";
  identity.layout = {.num_layers = static_cast<int32_t>(block_bytes / kLayerBytes),
                     .num_kv_heads = 1,
                     .head_dim = 64,
                     .block_tokens = kBlockTokens,
                     .dtype = cachestore::DType::kBF16};
  identity.kv_scales = "none";
  identity.position_scheme = "none";
  return identity;
}

std::vector<TokenId> SyntheticTokens(uint64_t chain, int64_t num_tokens) {
  const uint64_t seed = SeedOf(chain);
  std::vector<TokenId> tokens(num_tokens);
  for (int64_t i = 0; i < num_tokens; ++i) tokens[i] = TokenAt(seed, i);
  return tokens;
}

void FillBlockTokens(uint64_t chain, int64_t block, TokenId (&tokens)[kBlockTokens]) {
  const uint64_t seed = SeedOf(chain);
  for (int64_t i = 0; i < kBlockTokens; ++i) tokens[i] = TokenAt(seed, block * kBlockTokens + i);
}

std::vector<int64_t> ChainLengths(const std::vector<int64_t>& lengths, int64_t num_blocks) {
  std::vector<int64_t> chains;
  for (int64_t left = num_blocks; left > 0; left -= chains.back()) {
    chains.push_back(std::min(left, lengths[chains.size() % lengths.size()]));
  }
  return chains;
}

uint64_t Random::Next() {
  state_ += kGolden;
  return Scramble(state_);
}

int64_t Random::Below(int64_t bound) {
  return static_cast<int64_t>(Next() % static_cast<uint64_t>(bound));
}

}  // namespace reprise::bench
