#include "engine/tokenizer/vocabulary_json.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "cachestore/base/status_macros.h"
#include "engine/tokenizer/byte_alphabet.h"

namespace reprise::engine {
namespace {

using nlohmann::json;

// Ids by the spelling in the file, which the map's keys point into.
using SpellingMap = absl::flat_hash_map<absl::string_view, uint32_t>;

std::string Quoted(absl::string_view text) { return absl::StrCat("\"", text, "\""); }

absl::Status CheckKind(const JsonField& model) {
  // Files of the first years have no "type"; of all models only BPE has merges.
  const bool looks_like_bpe = model.Find("merges").has_value();
  ASSIGN_OR_RETURN(const std::string type,
                   model.StringOr("type", looks_like_bpe ? "BPE" : "unknown"));
  if (type != "BPE") {
    return model.Error(absl::StrCat("type ", type, " is not supported, only byte-level BPE is"));
  }
  ASSIGN_OR_RETURN(const bool byte_fallback, model.BoolOr("byte_fallback", false));
  if (byte_fallback) {
    return model.Error(
        "byte_fallback is not supported: it belongs to SentencePiece BPE, not to byte-level BPE");
  }
  for (const absl::string_view affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    ASSIGN_OR_RETURN(const std::string value, model.StringOr(affix, ""));
    if (!value.empty()) {
      return model.Error(absl::StrCat(affix, " ", Quoted(value), " is not supported"));
    }
  }
  const std::optional<JsonField> dropout = model.Find("dropout");
  if (dropout.has_value())
    return dropout->Error("only null is supported: dropout makes token ids random");
  return absl::OkStatus();
}

absl::StatusOr<SpellingMap> ReadVocab(const JsonField& model, VocabularyParts* parts) {
  ASSIGN_OR_RETURN(const JsonField field, model.Get("vocab"));
  ASSIGN_OR_RETURN(const json* const object, field.AsObject());
  SpellingMap ids;
  ids.reserve(object->size());
  std::vector<absl::string_view> spellings;  // by id, to name both tokens of a clash
  for (const auto& [spelling, value] : object->items()) {
    uint32_t id = 0;
    if (value.is_number_unsigned() && value.get<uint64_t>() < kMaxTokens) {
      id = value.get<uint32_t>();
    } else {
      ASSIGN_OR_RETURN(const JsonField member, field.Get(spelling));
      ASSIGN_OR_RETURN(id, member.AsIdBelow(kMaxTokens));
    }
    if (parts->vocabulary.kind(id) != TokenKind::kUnused) {
      return field.Error(absl::StrCat("tokens ", Quoted(spellings[id]), " and ", Quoted(spelling),
                                      " both have id ", id));
    }
    if (id >= spellings.size()) spellings.resize(id + 1);
    spellings[id] = spelling;
    ids.emplace(spelling, id);
    // What is not in the byte alphabet can only be the text of an added token.
    parts->vocabulary.Set(id, TokenKind::kText, FromByteAlphabet(spelling).value_or(spelling));
  }
  for (int byte = 0; byte < 256; ++byte) {
    const std::string spelling = ToByteAlphabet(std::string(1, static_cast<char>(byte)));
    const auto found = ids.find(spelling);
    if (found == ids.end()) {
      return field.Error(absl::StrCat("byte 0x", absl::Hex(byte, absl::kZeroPad2), ", spelt ",
                                      Quoted(spelling), ", has no token"));
    }
    parts->bpe.byte_ids[byte] = found->second;
  }
  return ids;
}

// The two spellings of a merge, written "a b" or ["a", "b"].
absl::StatusOr<std::pair<std::string, std::string>> ReadPair(const JsonField& merges,
                                                             const json& value, size_t index) {
  if (value.is_array() && value.size() == 2 && value[0].is_string() && value[1].is_string()) {
    return std::make_pair(value[0].get<std::string>(), value[1].get<std::string>());
  }
  if (value.is_string()) {
    const std::string& text = value.get_ref<const std::string&>();
    const size_t space = text.find(' ');
    if (space != std::string::npos && text.find(' ', space + 1) == std::string::npos) {
      return std::make_pair(text.substr(0, space), text.substr(space + 1));
    }
  }
  return merges.At(index).Error("expected \"left right\" or [\"left\", \"right\"]");
}

absl::Status ReadMerges(const JsonField& model, const SpellingMap& ids, BpeParts* bpe) {
  ASSIGN_OR_RETURN(const JsonField field, model.Get("merges"));
  ASSIGN_OR_RETURN(const json* const array, field.AsArray());
  bpe->merges.reserve(array->size());
  for (size_t i = 0; i < array->size(); ++i) {
    const json& value = (*array)[i];
    if (value.is_string() && absl::StartsWith(value.get_ref<const std::string&>(), "#version")) {
      continue;  // the header line of merges.txt, which some converters left in
    }
    ASSIGN_OR_RETURN(const auto pair, ReadPair(field, value, i));
    BpeMerge merge;
    const std::string merged = absl::StrCat(pair.first, pair.second);
    for (const auto& [spelling, id] :
         {std::make_pair(&pair.first, &merge.left), std::make_pair(&pair.second, &merge.right),
          std::make_pair(&merged, &merge.merged)}) {
      const auto found = ids.find(*spelling);
      if (found == ids.end()) {
        return field.At(i).Error(absl::StrCat("token ", Quoted(*spelling), " of the merge ",
                                              Quoted(pair.first), " ", Quoted(pair.second),
                                              " is not in model.vocab"));
      }
      *id = found->second;
    }
    bpe->merges.push_back(merge);
  }
  return absl::OkStatus();
}

absl::StatusOr<AddedToken> ReadAddedToken(const JsonField& field) {
  AddedToken token;
  ASSIGN_OR_RETURN(const JsonField id, field.Get("id"));
  ASSIGN_OR_RETURN(token.id, id.AsIdBelow(kMaxTokens));
  ASSIGN_OR_RETURN(const JsonField content, field.Get("content"));
  ASSIGN_OR_RETURN(token.content, content.AsString());
  if (token.content.empty()) return content.Error("an added token needs at least one character");
  ASSIGN_OR_RETURN(token.single_word, field.BoolOr("single_word", false));
  ASSIGN_OR_RETURN(token.lstrip, field.BoolOr("lstrip", false));
  ASSIGN_OR_RETURN(token.rstrip, field.BoolOr("rstrip", false));
  ASSIGN_OR_RETURN(token.special, field.BoolOr("special", false));
  ASSIGN_OR_RETURN(token.normalized, field.BoolOr("normalized", !token.special));
  return token;
}

absl::Status ReadAddedTokens(const JsonField& root, const SpellingMap& ids,
                             VocabularyParts* parts) {
  const std::optional<JsonField> field = root.Find("added_tokens");
  if (!field.has_value()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const json* const array, field->AsArray());
  absl::flat_hash_map<std::string, size_t> seen;  // index by content
  for (size_t i = 0; i < array->size(); ++i) {
    const JsonField place = field->At(i);
    ASSIGN_OR_RETURN(AddedToken token, ReadAddedToken(place));
    const auto [first, is_new] = seen.try_emplace(token.content, i);
    if (!is_new) {
      return place.Error(
          absl::StrCat(Quoted(token.content), " is added_tokens[", first->second, "] as well"));
    }
    const auto in_vocab = ids.find(token.content);
    if (in_vocab != ids.end() && in_vocab->second != token.id) {
      return place.Error(absl::StrCat(Quoted(token.content), " has id ", token.id, ", but id ",
                                      in_vocab->second, " in model.vocab"));
    }
    if (in_vocab == ids.end() && parts->vocabulary.kind(token.id) != TokenKind::kUnused) {
      return place.Error(absl::StrCat(Quoted(token.content), " has id ", token.id,
                                      ", which is taken by ",
                                      Quoted(ToByteAlphabet(parts->vocabulary.bytes(token.id)))));
    }
    parts->vocabulary.Set(token.id, token.special ? TokenKind::kSpecial : TokenKind::kText,
                          token.content);
    parts->added.push_back(std::move(token));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<VocabularyParts> ReadVocabulary(const JsonField& root) {
  ASSIGN_OR_RETURN(const JsonField model, root.Get("model"));
  RETURN_IF_ERROR(CheckKind(model));
  VocabularyParts parts;
  ASSIGN_OR_RETURN(const SpellingMap ids, ReadVocab(model, &parts));
  RETURN_IF_ERROR(ReadMerges(model, ids, &parts.bpe));
  ASSIGN_OR_RETURN(const bool ignore_merges, model.BoolOr("ignore_merges", false));
  if (ignore_merges) {
    parts.bpe.whole_pieces = WholePieces::kLookUp;
    for (const auto& [spelling, id] : ids) {
      std::optional<std::string> bytes = FromByteAlphabet(spelling);
      if (bytes.has_value()) parts.bpe.piece_ids.emplace(*std::move(bytes), id);
    }
  }
  RETURN_IF_ERROR(ReadAddedTokens(root, ids, &parts));
  return parts;
}

}  // namespace reprise::engine
