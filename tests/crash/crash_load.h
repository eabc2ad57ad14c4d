// The load under which a store is killed: chains of blocks whose tokens follow from the chain's id
// and whose payload follows from the block's key, so that whoever knows the id can check every
// byte.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "cachestore/store/tiered_store.h"
#include "tests/fakes/mix_bits.h"

namespace reprise::cachestore {

inline constexpr int32_t kBlockTokens = 16;
inline constexpr int kNumWriters = 3;

// Blocks of 8448 bytes: not a multiple of 4096.
inline NamespaceIdentity CrashIdentity() {
  NamespaceIdentity identity;
  identity.model_digest = "crash test model";
  identity.tokenizer_digest = "crash test tokenizer";
  identity.adapter_digest = "none";
  identity.layout = {.num_layers = 2,
                     .num_kv_heads = 1,
                     .head_dim = 33,
                     .block_tokens = kBlockTokens,
                     .dtype = DType::kF32};
  identity.kv_scales = "none";
  identity.position_scheme = "learned";
  return identity;
}

// About 170 blocks of RAM: demotion runs all the time.
inline StoreOptions CrashOptions(const std::string& directory, int64_t disk_bytes) {
  StoreOptions options;
  options.ram.capacity_bytes = int64_t{2} << 20;
  options.disk.directory = directory;
  options.disk.capacity_bytes = disk_bytes;
  return options;
}

// Chain `number` of writer `writer` in process number `round` on a directory.
inline uint64_t ChainId(uint64_t round, uint64_t writer, uint64_t number) {
  return round << 40 | writer << 32 | number;
}

// 3 to 12 blocks.
inline int64_t ChainBlocks(uint64_t chain) { return 3 + static_cast<int64_t>(MixBits(chain) % 10); }

// The tokens of the chain's blocks. Four chains with neighbouring ids share their first blocks.
inline std::vector<TokenId> ChainTokens(uint64_t chain) {
  const uint64_t family = ~(chain / 4);
  const int64_t num_shared = 1 + static_cast<int64_t>(MixBits(family) % 2);
  std::vector<TokenId> tokens;
  for (int64_t i = 0; i < ChainBlocks(chain) * kBlockTokens; ++i) {
    const uint64_t source = i < num_shared * kBlockTokens ? family : chain;
    tokens.push_back(static_cast<TokenId>(MixBits(MixBits(source) + static_cast<uint64_t>(i))));
  }
  return tokens;
}

// The only right payload of `key`.
inline void FillPayload(const BlockKey& key, absl::Span<std::byte> out) {
  for (size_t i = 0; i < out.size(); i += sizeof(uint64_t)) {
    const uint64_t word = MixBits(key.hi ^ MixBits(key.lo + i));
    std::memcpy(out.data() + i, &word, std::min(sizeof(word), out.size() - i));
  }
}

inline bool IsRightPayload(const BlockKey& key, absl::Span<const std::byte> bytes) {
  std::vector<std::byte> expected(bytes.size());
  FillPayload(key, absl::MakeSpan(expected));
  return std::memcmp(expected.data(), bytes.data(), bytes.size()) == 0;
}

// What the process under load tells its parent, one atomic write to a pipe each.
struct Message {
  enum class Kind : uint64_t {
    kSealing,   // chain: from now on some of its blocks may be in the store
    kDemoting,  // Demote() is about to be called
    kDemoted,   // Demote() has returned
    kDurable,   // chain: all of its blocks are on disk only
  };
  Kind kind;
  uint64_t chain;
};

}  // namespace reprise::cachestore
