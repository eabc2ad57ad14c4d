// BpeSymbols: the tokens that merging begins with: one for each byte of a piece (byte-level BPE),
// or one for each character (SentencePiece's BPE), where characters without a token of their own
// fall back to their bytes or to the unknown token. Pure values and functions, thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"

namespace reprise::engine {

// What pieces and the merges' tokens are spelt in.
enum class BpeAlphabet { kBytes, kCharacters };

using ByteIds = std::array<uint32_t, 256>;  // token of each byte

struct CharacterSymbols {
  absl::flat_hash_map<std::string, uint32_t> ids;  // by character
  std::optional<ByteIds> byte_ids;                 // for the bytes of characters that have no token
  std::optional<uint32_t> unknown;  // for characters that have neither; else they are left out
  enum class UnknownRuns { kEach, kFuse } unknown_runs = UnknownRuns::kEach;
};

using BpeSymbols = std::variant<ByteIds, CharacterSymbols>;

// Appends the symbols of `piece`: any bytes for ByteIds. REQUIRES: else `piece` is UTF-8.
void AppendSymbols(const BpeSymbols& symbols, absl::string_view piece, std::vector<uint32_t>* ids);

}  // namespace reprise::engine
