#include "engine/tokenizer/bpe_tokenizer.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"
#include "engine/text/utf8.h"

namespace reprise::engine {

BpeTokenizer::BpeTokenizer(TokenizerParts parts)
    : vocabulary_(std::move(parts.vocabulary)),
      added_(std::move(parts.added)),
      normalizer_(std::move(parts.normalizer)),
      pre_tokenizer_(std::move(parts.pre_tokenizer)),
      model_(std::move(parts.bpe)),
      decoder_(std::move(parts.decoder)),
      surrounding_(std::move(parts.surrounding)),
      digest_(std::move(parts.digest)),
      chat_template_(std::move(parts.chat_template)) {}

absl::StatusOr<std::vector<uint32_t>> BpeTokenizer::Encode(absl::string_view text) const {
  std::vector<uint32_t> ids = surrounding_.leading;
  RETURN_IF_ERROR(AppendIds(MarkedText(std::string(text)), &ids));
  ids.insert(ids.end(), surrounding_.trailing.begin(), surrounding_.trailing.end());
  return ids;
}

absl::StatusOr<std::vector<uint32_t>> BpeTokenizer::EncodeMarked(const MarkedText& text) const {
  std::vector<uint32_t> ids;
  RETURN_IF_ERROR(AppendIds(text, &ids));
  return ids;
}

absl::Status BpeTokenizer::AppendIds(const MarkedText& text, std::vector<uint32_t>* ids) const {
  const std::optional<size_t> invalid = FindInvalidUtf8(text.text());
  if (invalid.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat("text is not UTF-8 at byte ", *invalid));
  }
  BpeScratch scratch;
  for (const AddedTokens::Span& raw : added_.SplitRaw(text)) {
    if (raw.id.has_value()) {
      ids->push_back(*raw.id);
      continue;
    }
    const MarkedText normalized = normalizer_.Normalize(text.Slice(raw.range));
    for (const AddedTokens::Span& span : added_.SplitNormalized(normalized)) {
      if (span.id.has_value()) {
        ids->push_back(*span.id);
        continue;
      }
      const bool is_start = raw.range.begin == 0 && span.range.begin == 0;
      RETURN_IF_ERROR(AppendPieces(normalized.Slice(span.range),
                                   is_start ? TextPlace::kStart : TextPlace::kInside, &scratch,
                                   ids));
    }
  }
  return absl::OkStatus();
}

absl::Status BpeTokenizer::AppendPieces(const MarkedText& text, TextPlace place,
                                        BpeScratch* scratch, std::vector<uint32_t>* ids) const {
  const size_t begin = ids->size();
  ASSIGN_OR_RETURN(const TextPieces pieces, pre_tokenizer_.Split(text.text(), place));
  for (const TextRange& range : pieces.ranges) {
    model_.Encode(absl::string_view(pieces.text).substr(range.begin, range.end - range.begin),
                  scratch, ids);
  }
  // Merges reach a special token when its text is an ordinary one as well.
  if (!text.plain().empty()) SpellOutSpecials(begin, ids);
  return absl::OkStatus();
}

void BpeTokenizer::SpellOutSpecials(size_t begin, std::vector<uint32_t>* ids) const {
  const auto is_forbidden = [this](uint32_t id) {
    return IsSpecial(id) && id != model_.unknown_id();
  };
  if (std::none_of(ids->begin() + begin, ids->end(), is_forbidden)) return;
  const std::vector<uint32_t> merged(ids->begin() + begin, ids->end());
  ids->resize(begin);
  for (const uint32_t id : merged) {
    if (is_forbidden(id)) {
      model_.AppendUnmerged(vocabulary_.bytes(id), ids);
    } else {
      ids->push_back(id);
    }
  }
}

std::string BpeTokenizer::TokenBytes(uint32_t id) const {
  return std::string(vocabulary_.bytes(id));
}

bool BpeTokenizer::IsSpecial(uint32_t id) const {
  return vocabulary_.kind(id) == TokenKind::kSpecial;
}

std::string BpeTokenizer::Decode(absl::Span<const uint32_t> ids) const {
  std::string bytes;
  for (const uint32_t id : ids) {
    if (!IsSpecial(id)) absl::StrAppend(&bytes, vocabulary_.bytes(id));
  }
  const absl::string_view kept = decoder_.Strip(bytes);
  std::string text;
  const size_t num_taken = AppendCompleteUtf8(kept, &text);
  if (num_taken < kept.size()) absl::StrAppend(&text, kReplacementCharacter);
  return text;
}

absl::StatusOr<uint32_t> BpeTokenizer::TokenToId(absl::string_view token) const {
  const std::optional<uint32_t> id = vocabulary_.Find(token);
  if (!id.has_value()) return absl::NotFoundError(absl::StrCat("no token \"", token, "\""));
  return *id;
}

}  // namespace reprise::engine
