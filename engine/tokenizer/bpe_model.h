// BpeModel: merges the symbols of a piece into tokens, lowest merge rank first, leftmost first
// among equals. Immutable, thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "engine/tokenizer/bpe_symbols.h"

namespace reprise::engine {

// Tokens `left` and `right`, in this order, become `merged`.
struct BpeMerge {
  uint32_t left = 0;
  uint32_t right = 0;
  uint32_t merged = 0;
};

// Whether a piece that is a token as a whole is that token, without merging.
enum class WholePieces { kMerge, kLookUp };

struct BpeParts {
  BpeSymbols symbols;
  std::vector<BpeMerge> merges;  // by rank; of equal pairs the last counts
  WholePieces whole_pieces = WholePieces::kMerge;
  absl::flat_hash_map<std::string, uint32_t> piece_ids;  // token by its piece, for kLookUp
};

// Working memory of BpeModel::Encode, kept from piece to piece to save allocations.
struct BpeScratch {
  struct Symbol {
    uint32_t id;
    uint32_t previous;  // index of the neighbours; BpeModel::kNone at the ends
    uint32_t next;
    uint32_t rank;    // of the merge with the next symbol; kNone: there is none
    uint32_t merged;  // what that merge gives
  };
  std::vector<uint32_t> ids;
  std::vector<Symbol> symbols;
  std::vector<uint64_t> heap;
};

class BpeModel {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  explicit BpeModel(BpeParts parts);

  // Appends the tokens of `piece`. Time O(n log n) for n bytes.
  // REQUIRES: `piece` is shorter than 4 GiB, and UTF-8 unless symbols are bytes.
  void Encode(absl::string_view piece, BpeScratch* scratch, std::vector<uint32_t>* ids) const;
  // The token of characters that have none, if there is one.
  std::optional<uint32_t> unknown_id() const;
  // Appends what merging `piece` begins with.
  void AppendUnmerged(absl::string_view piece, std::vector<uint32_t>* ids) const {
    AppendSymbols(symbols_, piece, ids);
  }

 private:
  struct RankedMerge {
    uint32_t rank;
    uint32_t merged;
  };

  // Looks up the merge of symbol `left` with its next one and queues it if there is one.
  void Offer(uint32_t left, BpeScratch* scratch) const;

  BpeSymbols symbols_;
  WholePieces whole_pieces_;
  absl::flat_hash_map<std::string, uint32_t> piece_ids_;
  absl::flat_hash_map<uint64_t, RankedMerge> merges_;  // by left << 32 | right
};

}  // namespace reprise::engine
