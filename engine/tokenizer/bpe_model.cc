#include "engine/tokenizer/bpe_model.h"

#include <algorithm>
#include <cstddef>
#include <functional>
#include <utility>

#include "cachestore/base/check.h"

namespace reprise::engine {
namespace {

uint64_t Join(uint32_t high, uint32_t low) { return static_cast<uint64_t>(high) << 32 | low; }

}  // namespace

BpeModel::BpeModel(BpeParts parts)
    : symbols_(std::move(parts.symbols)),
      whole_pieces_(parts.whole_pieces),
      piece_ids_(std::move(parts.piece_ids)) {
  merges_.reserve(parts.merges.size());
  for (size_t rank = 0; rank < parts.merges.size(); ++rank) {
    const BpeMerge& merge = parts.merges[rank];
    merges_[Join(merge.left, merge.right)] = {static_cast<uint32_t>(rank), merge.merged};
  }
}

std::optional<uint32_t> BpeModel::unknown_id() const {
  const auto* characters = std::get_if<CharacterSymbols>(&symbols_);
  return characters == nullptr ? std::nullopt : characters->unknown;
}

void BpeModel::Offer(uint32_t left, BpeScratch* scratch) const {
  BpeScratch::Symbol& symbol = scratch->symbols[left];
  symbol.rank = kNone;
  if (symbol.next == kNone) return;
  const auto merge = merges_.find(Join(symbol.id, scratch->symbols[symbol.next].id));
  if (merge == merges_.end()) return;
  symbol.rank = merge->second.rank;
  symbol.merged = merge->second.merged;
  scratch->heap.push_back(Join(symbol.rank, left));
}

void BpeModel::Encode(absl::string_view piece, BpeScratch* scratch,
                      std::vector<uint32_t>* ids) const {
  if (piece.empty()) return;
  CHECK(piece.size() < kNone);
  if (whole_pieces_ == WholePieces::kLookUp) {
    const auto whole = piece_ids_.find(piece);
    if (whole != piece_ids_.end()) {
      ids->push_back(whole->second);
      return;
    }
  }
  std::vector<BpeScratch::Symbol>& symbols = scratch->symbols;
  std::vector<uint64_t>& heap = scratch->heap;
  scratch->ids.clear();
  AppendSymbols(symbols_, piece, &scratch->ids);
  if (scratch->ids.empty()) return;
  const uint32_t num_symbols = static_cast<uint32_t>(scratch->ids.size());
  symbols.resize(num_symbols);
  heap.clear();
  for (uint32_t i = 0; i < num_symbols; ++i) {
    symbols[i] = {scratch->ids[i], i == 0 ? kNone : i - 1, i + 1 == num_symbols ? kNone : i + 1,
                  kNone, kNone};
  }
  for (uint32_t i = 0; i < num_symbols; ++i) Offer(i, scratch);
  std::make_heap(heap.begin(), heap.end(), std::greater<>());
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    const uint32_t rank = static_cast<uint32_t>(heap.back() >> 32);
    const uint32_t left = static_cast<uint32_t>(heap.back());
    heap.pop_back();
    // The pair may be gone since it was queued: a symbol that was merged away or changed has
    // another rank.
    if (symbols[left].rank != rank) continue;
    const uint32_t right = symbols[left].next;
    symbols[left].id = symbols[left].merged;
    symbols[left].next = symbols[right].next;
    symbols[right].rank = kNone;
    if (symbols[left].next != kNone) symbols[symbols[left].next].previous = left;
    for (const uint32_t changed : {left, symbols[left].previous}) {
      if (changed == kNone) continue;
      const size_t num_queued = heap.size();
      Offer(changed, scratch);
      if (heap.size() != num_queued) std::push_heap(heap.begin(), heap.end(), std::greater<>());
    }
  }
  for (uint32_t i = 0; i != kNone; i = symbols[i].next) ids->push_back(symbols[i].id);
}

}  // namespace reprise::engine
