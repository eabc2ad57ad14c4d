// MemoryMap: which addresses a device reaches, whether they are its own or pinned host memory, and
// in which pieces they were pinned: no single copy may run from one of those into the next.
// Thread-compatible.
#pragma once

#include <cstddef>
#include <map>
#include <optional>

#include "absl/types/span.h"

namespace reprise::cachestore {

class MemoryMap {
 public:
  enum class Kind { kDevice, kHost };

  // REQUIRES: `piece` is not empty and overlaps no other.
  void Add(absl::Span<const std::byte> piece, Kind kind);
  // REQUIRES: a piece that starts at `begin` was added.
  void Remove(const std::byte* begin);

  // Where all of [begin, begin + bytes) lies, in one piece or in several that touch; nullopt when
  // part of it lies nowhere. REQUIRES: bytes > 0.
  std::optional<Kind> KindOf(const std::byte* begin, size_t bytes) const;
  // Bytes from `at` to the end of the piece that holds it. REQUIRES: one does.
  size_t BytesToEdge(const std::byte* at) const;
  // Whether [begin, begin + bytes) touches any piece.
  bool Overlaps(const std::byte* begin, size_t bytes) const;

 private:
  struct Piece {
    size_t bytes = 0;
    Kind kind = Kind::kDevice;
  };
  using Pieces = std::map<const std::byte*, Piece>;  // by their first byte

  // The piece that holds `at`, or the end.
  Pieces::const_iterator PieceOf(const std::byte* at) const;

  Pieces pieces_;
};

}  // namespace reprise::cachestore
