#include "cachestore/memory/memory_map.h"

#include <iterator>

#include "cachestore/base/check.h"

namespace reprise::cachestore {

void MemoryMap::Add(absl::Span<const std::byte> piece, Kind kind) {
  CHECK(!piece.empty());
  CHECK(!Overlaps(piece.data(), piece.size()));
  pieces_[piece.data()] = {piece.size(), kind};
}

void MemoryMap::Remove(const std::byte* begin) { CHECK(pieces_.erase(begin) == 1); }

std::optional<MemoryMap::Kind> MemoryMap::KindOf(const std::byte* begin, size_t bytes) const {
  CHECK(bytes > 0);
  const std::byte* const end = begin + bytes;
  auto piece = PieceOf(begin);
  if (piece == pieces_.end()) return std::nullopt;
  const Kind kind = piece->second.kind;
  for (const std::byte* reached = piece->first + piece->second.bytes; reached < end;) {
    ++piece;
    if (piece == pieces_.end() || piece->first != reached || piece->second.kind != kind) {
      return std::nullopt;
    }
    reached += piece->second.bytes;
  }
  return kind;
}

size_t MemoryMap::BytesToEdge(const std::byte* at) const {
  const auto piece = PieceOf(at);
  CHECK(piece != pieces_.end());
  return static_cast<size_t>(piece->first + piece->second.bytes - at);
}

bool MemoryMap::Overlaps(const std::byte* begin, size_t bytes) const {
  if (PieceOf(begin) != pieces_.end()) return true;
  const auto next = pieces_.lower_bound(begin);
  return next != pieces_.end() && next->first < begin + bytes;
}

MemoryMap::Pieces::const_iterator MemoryMap::PieceOf(const std::byte* at) const {
  const auto next = pieces_.upper_bound(at);
  if (next == pieces_.begin()) return pieces_.end();
  const auto piece = std::prev(next);
  return at < piece->first + piece->second.bytes ? piece : pieces_.end();
}

}  // namespace reprise::cachestore
