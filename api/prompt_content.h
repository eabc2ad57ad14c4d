// PromptContent: what a message says of the blocks of a prompt (token ids, or external keys in a
// namespace of such), checked, as the store takes it. Thread-compatible.
#pragma once

#include <google/protobuf/repeated_field.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "cachestore/store/tiered_store.h"

namespace reprise::api {

// kInvalidArgument: the blocks of `ns` have no independent keys, because token ids name them.
absl::Status NeedLoneKeys(const cachestore::NamespaceHandle& ns);

class PromptContent {
 public:
  // kInvalidArgument: not what names the blocks of `ns`, too long, or a key that is not 32 bytes.
  // `token_ids` must outlive the content.
  static absl::StatusOr<PromptContent> Of(const cachestore::NamespaceHandle& ns,
                                          absl::Span<const cachestore::TokenId> token_ids,
                                          const std::vector<absl::string_view>& external_keys);

  // The same of a message's fields.
  static absl::StatusOr<PromptContent> Of(
      const cachestore::NamespaceHandle& ns,
      const google::protobuf::RepeatedField<uint32_t>& token_ids,
      const google::protobuf::RepeatedPtrField<std::string>& external_keys);

  // Valid as long as this is.
  cachestore::BlockContent view() const;
  // Block `i` alone.
  cachestore::BlockContent block(int64_t i) const;
  // Full blocks.
  int64_t num_blocks() const { return static_cast<int64_t>(view().words().size()) / block_words_; }

 private:
  explicit PromptContent(const cachestore::NamespaceHandle& ns)
      : source_(ns.key_source), block_words_(ns.block_words) {}

  cachestore::KeySource source_;
  int64_t block_words_;
  absl::Span<const cachestore::TokenId> token_ids_;
  std::vector<cachestore::ExternalKey> external_keys_;
};

}  // namespace reprise::api
