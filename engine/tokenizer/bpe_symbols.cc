#include "engine/tokenizer/bpe_symbols.h"

#include "engine/text/utf8.h"

namespace reprise::engine {
namespace {

void AppendBytes(const ByteIds& byte_ids, absl::string_view bytes, std::vector<uint32_t>* ids) {
  for (const char c : bytes) ids->push_back(byte_ids[static_cast<uint8_t>(c)]);
}

void AppendCharacters(const CharacterSymbols& symbols, absl::string_view piece,
                      std::vector<uint32_t>* ids) {
  bool follows_unknown = false;
  while (!piece.empty()) {
    const absl::string_view character = piece.substr(0, NextUtf8(piece).num_bytes);
    piece.remove_prefix(character.size());
    const auto found = symbols.ids.find(character);
    const bool has_token = found != symbols.ids.end();
    if (has_token) {
      ids->push_back(found->second);
    } else if (symbols.byte_ids.has_value()) {
      AppendBytes(*symbols.byte_ids, character, ids);
    } else if (symbols.unknown.has_value() &&
               !(follows_unknown && symbols.unknown_runs == CharacterSymbols::UnknownRuns::kFuse)) {
      ids->push_back(*symbols.unknown);
    }
    follows_unknown = !has_token;
  }
}

}  // namespace

void AppendSymbols(const BpeSymbols& symbols, absl::string_view piece, std::vector<uint32_t>* ids) {
  if (const auto* byte_ids = std::get_if<ByteIds>(&symbols)) {
    AppendBytes(*byte_ids, piece, ids);
  } else {
    AppendCharacters(std::get<CharacterSymbols>(symbols), piece, ids);
  }
}

}  // namespace reprise::engine
