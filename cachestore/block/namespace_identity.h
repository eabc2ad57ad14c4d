// NamespaceIdentity: everything except tokens that changes KV bytes, who names the blocks, and the
// canonical encoding of both.
//
// Two engines share blocks only if every field is equal. The encoding is tagged and
// length-prefixed (cachestore/README.md), so no two identities encode alike; nothing about an
// instance (host name, memory size, process seed) enters it. Plain data.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "cachestore/block/block_content.h"
#include "cachestore/block/kv_layout.h"

namespace reprise::cachestore {

struct NamespaceIdentity {
  std::string model_digest;      // digest of the weights and config; required
  std::string tokenizer_digest;  // digest of the tokenizer; required
  std::string adapter_digest;    // LoRA adapter; "none" when there is none, never empty
  KvLayout layout;               // all fields required
  int32_t first_layer = 0;       // layers [first_layer, first_layer + layout.num_layers)
  // How a lossy dtype is scaled; "none" for fp32, fp16, bf16, plain fp8.
  // KvScalesName(layout.scales) when the scales lie in the block, else any other name.
  std::string kv_scales;
  std::string position_scheme;  // e.g. "rope theta=10000", "learned"; required
  int32_t tensor_parallel_rank = 0, tensor_parallel_size = 1;
  int32_t pipeline_parallel_rank = 0, pipeline_parallel_size = 1;
  std::string tenant = "default";  // required
  std::string salt;                // caller's own isolation; may be empty
  KeySource key_source = KeySource::kTokens;

  friend bool operator==(const NamespaceIdentity&, const NamespaceIdentity&) = default;

  // 32-bit words that name one block (BlockContent).
  int32_t block_words() const {
    return key_source == KeySource::kTokens ? layout.block_tokens
                                            : static_cast<int32_t>(ExternalKey::kWords);
  }

  // kInvalidArgument names the missing or impossible field.
  absl::Status Validate() const;

  // Canonical bytes. REQUIRES: Validate() is OK.
  std::string Encode() const;
  // The inverse of Encode(). kInvalidArgument on an unknown tag, version or a missing field.
  static absl::StatusOr<NamespaceIdentity> Decode(absl::string_view bytes);
};

}  // namespace reprise::cachestore
