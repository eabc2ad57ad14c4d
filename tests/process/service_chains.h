// The load under which servers and their clients are killed: chains of blocks whose tokens and
// bytes follow from the chain's id, so that whoever knows the id can check every byte.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "reprise/v1/cache.pb.h"
#include "tests/fakes/mix_bits.h"

namespace reprise::api {

inline constexpr int32_t kChainBlockTokens = 8;
inline constexpr int64_t kChainBlockBytes = 32 << 10;
// For which operators work.
inline constexpr char kChainTenant[] = "load";

// Blocks of 8 tokens and 32 KiB, of `tenant`; empty: that of the credential.
inline v1::NamespaceIdentity ChainIdentity(const std::string& tenant) {
  v1::NamespaceIdentity identity;
  identity.set_model_digest("load");
  identity.set_tokenizer_digest("load");
  identity.set_adapter_digest("none");
  identity.mutable_layout()->set_num_layers(16);
  identity.mutable_layout()->set_num_kv_heads(1);
  identity.mutable_layout()->set_head_dim(64);
  identity.mutable_layout()->set_block_tokens(kChainBlockTokens);
  identity.mutable_layout()->set_dtype(v1::DTYPE_FP16);
  identity.set_kv_scales("none");
  identity.set_position_scheme("none");
  identity.set_tensor_parallel_size(1);
  identity.set_pipeline_parallel_size(1);
  identity.set_tenant(tenant);
  return identity;
}

// Chain `number` of thread `thread` of client number `client`.
inline uint64_t ChainId(uint64_t client, uint64_t thread, uint64_t number) {
  return client << 32 | thread << 28 | number;
}

// 2 to 9 blocks.
inline int64_t ChainBlocks(uint64_t chain) { return 2 + static_cast<int64_t>(MixBits(chain) % 8); }

// What block `index` is made of: four chains with neighbouring ids share their first block.
inline uint64_t BlockSeed(uint64_t chain, int64_t index) {
  const uint64_t source = index == 0 ? ~(chain / 4) : chain;
  return MixBits(MixBits(source) + static_cast<uint64_t>(index));
}

inline std::vector<uint32_t> ChainTokens(uint64_t chain) {
  std::vector<uint32_t> tokens;
  for (int64_t i = 0; i < ChainBlocks(chain); ++i) {
    for (uint64_t t = 0; t < kChainBlockTokens; ++t) {
      tokens.push_back(static_cast<uint32_t>(MixBits(BlockSeed(chain, i) + t) >> 33));
    }
  }
  return tokens;
}

// The only right bytes of block `index`.
inline std::string ChainPayload(uint64_t chain, int64_t index) {
  std::string bytes(kChainBlockBytes, '\0');
  for (size_t i = 0; i < bytes.size(); i += sizeof(uint64_t)) {
    const uint64_t word = MixBits(BlockSeed(chain, index) ^ (i << 8));
    std::memcpy(bytes.data() + i, &word, sizeof(word));
  }
  return bytes;
}

inline bool IsRightPayload(uint64_t chain, int64_t index, absl::string_view bytes) {
  return index < ChainBlocks(chain) && bytes == ChainPayload(chain, index);
}

}  // namespace reprise::api
