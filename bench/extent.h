// Extent: how much a suite measures.
#pragma once

namespace reprise::bench {

enum class Extent {
  kQuick,  // seconds: shows that the suite works; its figures mean nothing and have no goals
  kFull,   // minutes
};

// The value for an extent.
template <typename T>
T ByExtent(Extent extent, T quick, T full) {
  return extent == Extent::kQuick ? quick : full;
}

}  // namespace reprise::bench
