// CopyPiece: one contiguous part of a copy.
#pragma once

#include <cstddef>

namespace reprise::cachestore {

// Copies [from, from + bytes) to [to, to + bytes). On each side the bytes lie in device memory or
// in pinned host memory.
struct CopyPiece {
  std::byte* to = nullptr;
  const std::byte* from = nullptr;
  size_t bytes = 0;
};

}  // namespace reprise::cachestore
