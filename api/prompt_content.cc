#include "api/prompt_content.h"

#include "absl/strings/str_cat.h"
#include "api/limits.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {

using cachestore::BlockContent;
using cachestore::ExternalKey;
using cachestore::KeySource;

absl::Status NeedLoneKeys(const cachestore::NamespaceHandle& ns) {
  if (ns.key_source == KeySource::kExternal) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "independent_keys needs a namespace of external keys; this one's blocks are named by "
      "token_ids");
}

absl::StatusOr<PromptContent> PromptContent::Of(
    const cachestore::NamespaceHandle& ns, absl::Span<const cachestore::TokenId> token_ids,
    const std::vector<absl::string_view>& external_keys) {
  PromptContent content(ns);
  if (ns.key_source == KeySource::kTokens) {
    if (!external_keys.empty()) {
      return absl::InvalidArgumentError(
          "external_keys are given, and the blocks of this namespace are named by token_ids");
    }
    if (static_cast<int64_t>(token_ids.size()) > kMaxRequestTokens) {
      return absl::InvalidArgumentError(absl::StrCat("token_ids holds ", token_ids.size(),
                                                     " tokens; at most ", kMaxRequestTokens,
                                                     " are taken"));
    }
    content.token_ids_ = token_ids;
    return content;
  }
  if (!token_ids.empty()) {
    return absl::InvalidArgumentError(
        "token_ids are given, and the blocks of this namespace are named by external_keys");
  }
  const int64_t max_keys = kMaxRequestTokens / ns.layout.block_tokens;
  if (static_cast<int64_t>(external_keys.size()) > max_keys) {
    return absl::InvalidArgumentError(absl::StrCat("external_keys holds ", external_keys.size(),
                                                   " keys; at most ", max_keys, " are taken"));
  }
  for (const absl::string_view bytes : external_keys) {
    ASSIGN_OR_RETURN(const ExternalKey key, ExternalKey::FromBytes(bytes));
    content.external_keys_.push_back(key);
  }
  return content;
}

absl::StatusOr<PromptContent> PromptContent::Of(
    const cachestore::NamespaceHandle& ns,
    const google::protobuf::RepeatedField<uint32_t>& token_ids,
    const google::protobuf::RepeatedPtrField<std::string>& external_keys) {
  return Of(ns, absl::MakeConstSpan(token_ids.data(), static_cast<size_t>(token_ids.size())),
            {external_keys.begin(), external_keys.end()});
}

BlockContent PromptContent::view() const {
  if (source_ == KeySource::kTokens) return token_ids_;
  return external_keys_;
}

BlockContent PromptContent::block(int64_t i) const {
  const auto words = static_cast<size_t>(block_words_);
  return BlockContent(source_, view().words().subspan(static_cast<size_t>(i) * words, words));
}

}  // namespace reprise::api
