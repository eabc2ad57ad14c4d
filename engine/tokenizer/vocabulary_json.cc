#include "engine/tokenizer/vocabulary_json.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "cachestore/base/status_macros.h"
#include "engine/text/utf8.h"
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
    return model.Error(absl::StrCat("type ", type, " is not supported, only BPE is"));
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

// `spellings` becomes those of the tokens by id, empty for ids that no token has.
absl::StatusOr<SpellingMap> ReadVocab(const JsonField& model,
                                      std::vector<absl::string_view>* spellings) {
  ASSIGN_OR_RETURN(const JsonField field, model.Get("vocab"));
  ASSIGN_OR_RETURN(const json* const object, field.AsObject());
  SpellingMap ids;
  ids.reserve(object->size());
  for (const auto& [spelling, value] : object->items()) {
    uint32_t id = 0;
    if (value.is_number_unsigned() && value.get<uint64_t>() < kMaxTokens) {
      id = value.get<uint32_t>();
    } else {
      ASSIGN_OR_RETURN(const JsonField member, field.Get(spelling));
      ASSIGN_OR_RETURN(id, member.AsIdBelow(kMaxTokens));
    }
    if (id >= spellings->size()) spellings->resize(id + 1);
    if ((*spellings)[id].data() != nullptr) {
      return field.Error(absl::StrCat("tokens ", Quoted((*spellings)[id]), " and ",
                                      Quoted(spelling), " both have id ", id));
    }
    (*spellings)[id] = spelling;
    ids.emplace(spelling, id);
  }
  return ids;
}

// The token of each byte, spelt in the byte alphabet or, for characters, like "<0x0A>".
absl::StatusOr<ByteIds> ReadByteIds(const JsonField& model, const SpellingMap& ids,
                                    BpeAlphabet alphabet) {
  ByteIds byte_ids{};
  for (int byte = 0; byte < 256; ++byte) {
    const std::string spelling = alphabet == BpeAlphabet::kBytes
                                     ? ToByteAlphabet(std::string(1, static_cast<char>(byte)))
                                     : absl::StrFormat("<0x%02X>", byte);
    const auto found = ids.find(spelling);
    if (found == ids.end()) {
      ASSIGN_OR_RETURN(const JsonField field, model.Get("vocab"));
      return field.Error(absl::StrCat("byte 0x", absl::Hex(byte, absl::kZeroPad2), ", spelt ",
                                      Quoted(spelling), ", has no token"));
    }
    byte_ids[byte] = found->second;
  }
  return byte_ids;
}

absl::StatusOr<CharacterSymbols> ReadCharacterSymbols(const JsonField& model,
                                                      const SpellingMap& ids) {
  CharacterSymbols symbols;
  for (const auto& [spelling, id] : ids) {
    if (!spelling.empty() && NextUtf8(spelling).num_bytes == spelling.size()) {
      symbols.ids.emplace(spelling, id);
    }
  }
  ASSIGN_OR_RETURN(const bool byte_fallback, model.BoolOr("byte_fallback", false));
  if (byte_fallback) {
    ASSIGN_OR_RETURN(symbols.byte_ids, ReadByteIds(model, ids, BpeAlphabet::kCharacters));
  }
  ASSIGN_OR_RETURN(const bool fuse, model.BoolOr("fuse_unk", false));
  if (fuse) symbols.unknown_runs = CharacterSymbols::UnknownRuns::kFuse;
  const std::optional<JsonField> unknown = model.Find("unk_token");
  if (!unknown.has_value()) return symbols;
  ASSIGN_OR_RETURN(const std::string spelling, unknown->AsString());
  const auto found = ids.find(spelling);
  if (found == ids.end()) {
    return unknown->Error(absl::StrCat(Quoted(spelling), " is not in model.vocab"));
  }
  symbols.unknown = found->second;
  return symbols;
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

absl::Status ReadAddedTokens(const JsonField& root, const SpellingMap& ids, BpeAlphabet alphabet,
                             const TextDecoder& decoder, VocabularyParts* parts) {
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
    // To byte-level BPE an added token is text as it is, not spelt in the alphabet.
    const bool is_spelt = alphabet == BpeAlphabet::kCharacters && !token.special;
    parts->vocabulary.Set(token.id, token.special ? TokenKind::kSpecial : TokenKind::kText,
                          is_spelt ? decoder.BytesOf(token.content) : token.content);
    parts->added.push_back(std::move(token));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<VocabularyParts> ReadVocabulary(const JsonField& root, BpeAlphabet alphabet,
                                               const TextDecoder& decoder) {
  ASSIGN_OR_RETURN(const JsonField model, root.Get("model"));
  RETURN_IF_ERROR(CheckKind(model));
  VocabularyParts parts;
  std::vector<absl::string_view> spellings;
  ASSIGN_OR_RETURN(const SpellingMap ids, ReadVocab(model, &spellings));
  for (uint32_t id = 0; id < spellings.size(); ++id) {
    if (spellings[id].data() == nullptr) continue;
    parts.vocabulary.Set(id, TokenKind::kText, decoder.BytesOf(spellings[id]));
  }
  if (alphabet == BpeAlphabet::kBytes) {
    // Every character of the alphabet has a token: byte_fallback and unk_token are never needed.
    ASSIGN_OR_RETURN(parts.bpe.symbols, ReadByteIds(model, ids, alphabet));
  } else {
    ASSIGN_OR_RETURN(parts.bpe.symbols, ReadCharacterSymbols(model, ids));
  }
  RETURN_IF_ERROR(ReadMerges(model, ids, &parts.bpe));
  ASSIGN_OR_RETURN(const bool ignore_merges, model.BoolOr("ignore_merges", false));
  if (ignore_merges) {
    parts.bpe.whole_pieces = WholePieces::kLookUp;
    for (const auto& [spelling, id] : ids) {
      std::optional<std::string> piece(spelling);
      if (alphabet == BpeAlphabet::kBytes) piece = FromByteAlphabet(spelling);
      if (piece.has_value()) parts.bpe.piece_ids.emplace(*std::move(piece), id);
    }
  }
  RETURN_IF_ERROR(ReadAddedTokens(root, ids, alphabet, decoder, &parts));
  return parts;
}

}  // namespace reprise::engine
