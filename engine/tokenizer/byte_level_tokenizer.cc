#include "engine/tokenizer/byte_level_tokenizer.h"

#include <cstddef>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"
#include "engine/tokenizer/utf8.h"

namespace reprise::engine {

ByteLevelTokenizer::ByteLevelTokenizer(TokenizerParts parts)
    : vocabulary_(std::move(parts.vocabulary)),
      added_(std::move(parts.added)),
      normalizer_(parts.normalizer),
      pre_tokenizer_(std::move(parts.pre_tokenizer)),
      byte_ids_(parts.bpe.byte_ids),
      model_(std::move(parts.bpe)),
      surrounding_(std::move(parts.surrounding)),
      digest_(std::move(parts.digest)),
      chat_template_(std::move(parts.chat_template)) {}

absl::StatusOr<std::vector<uint32_t>> ByteLevelTokenizer::Encode(absl::string_view text) const {
  std::vector<uint32_t> ids = surrounding_.leading;
  RETURN_IF_ERROR(AppendIds(text, AddedTokenUse::kAll, &ids));
  ids.insert(ids.end(), surrounding_.trailing.begin(), surrounding_.trailing.end());
  return ids;
}

absl::StatusOr<std::vector<uint32_t>> ByteLevelTokenizer::EncodePlain(
    absl::string_view text) const {
  std::vector<uint32_t> ids;
  RETURN_IF_ERROR(AppendIds(text, AddedTokenUse::kNotSpecial, &ids));
  // Merges reach a special token when its text is an ordinary one as well. Its bytes are safe.
  std::vector<uint32_t> plain;
  plain.reserve(ids.size());
  for (const uint32_t id : ids) {
    if (!IsSpecial(id)) {
      plain.push_back(id);
      continue;
    }
    for (const char c : vocabulary_.bytes(id)) {
      plain.push_back(byte_ids_[static_cast<uint8_t>(c)]);
    }
  }
  return plain;
}

absl::Status ByteLevelTokenizer::AppendIds(absl::string_view text, AddedTokenUse use,
                                           std::vector<uint32_t>* ids) const {
  const std::optional<size_t> invalid = FindInvalidUtf8(text);
  if (invalid.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat("text is not UTF-8 at byte ", *invalid));
  }
  BpeScratch scratch;
  for (const AddedTokens::Span& raw : added_.SplitRaw(text, use)) {
    if (raw.id.has_value()) {
      ids->push_back(*raw.id);
      continue;
    }
    const std::string normalized =
        normalizer_.Normalize(text.substr(raw.range.begin, raw.range.end - raw.range.begin));
    for (const AddedTokens::Span& span : added_.SplitNormalized(normalized, use)) {
      if (span.id.has_value()) {
        ids->push_back(*span.id);
        continue;
      }
      const size_t num_bytes = span.range.end - span.range.begin;
      RETURN_IF_ERROR(AppendPieces(
          absl::string_view(normalized).substr(span.range.begin, num_bytes), &scratch, ids));
    }
  }
  return absl::OkStatus();
}

absl::Status ByteLevelTokenizer::AppendPieces(absl::string_view text, BpeScratch* scratch,
                                              std::vector<uint32_t>* ids) const {
  ASSIGN_OR_RETURN(const TextPieces pieces, pre_tokenizer_.Split(std::string(text)));
  for (const TextRange& range : pieces.ranges) {
    model_.Encode(absl::string_view(pieces.text).substr(range.begin, range.end - range.begin),
                  scratch, ids);
  }
  return absl::OkStatus();
}

std::string ByteLevelTokenizer::TokenBytes(uint32_t id) const {
  return std::string(vocabulary_.bytes(id));
}

bool ByteLevelTokenizer::IsSpecial(uint32_t id) const {
  return vocabulary_.kind(id) == TokenKind::kSpecial;
}

std::string ByteLevelTokenizer::Decode(absl::Span<const uint32_t> ids) const {
  std::string bytes;
  for (const uint32_t id : ids) {
    if (!IsSpecial(id)) absl::StrAppend(&bytes, vocabulary_.bytes(id));
  }
  std::string text;
  const size_t num_taken = AppendCompleteUtf8(bytes, &text);
  if (num_taken < bytes.size()) absl::StrAppend(&text, kReplacementCharacter);
  return text;
}

absl::StatusOr<uint32_t> ByteLevelTokenizer::TokenToId(absl::string_view token) const {
  const std::optional<uint32_t> id = vocabulary_.Find(token);
  if (!id.has_value()) return absl::NotFoundError(absl::StrCat("no token \"", token, "\""));
  return *id;
}

}  // namespace reprise::engine
