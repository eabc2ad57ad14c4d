// PlanCopies: by which means a list of pieces is copied. Pure, so that it is tested without a
// device.
//
// Three means, from the largest piece to the smallest:
//   single   one call for one run of bytes; a copy engine moves it
//   batched  one call for a list of runs; copy engines move them, at a cost of theirs for each run
//   kernel   a kernel of few thread blocks loads and stores 16 bytes a thread: the cost of a run is
//            nothing, but it takes a few multiprocessors from the step (gather_copy.h)
// Where the kernel starts to win is measured (bench, suite gpu-copy), so it is data:
// CopyCrossovers.
#pragma once

#include <cstddef>
#include <vector>

#include "absl/types/span.h"
#include "cachestore/memory/copy_piece.h"
#include "cachestore/memory/memory_map.h"

namespace reprise::cachestore {

enum class CopyDirection { kToDevice, kToHost, kOnDevice };

// The kernel copies the runs shorter than `kernel_below_bytes`, if there are at least
// `kernel_min_runs` of them.
struct CopyCrossover {
  size_t kernel_below_bytes = 0;
  size_t kernel_min_runs = 0;
};

// The defaults are not ours yet: they are where others' measurements on H100 put the crossover of
// the batched call. Suite gpu-copy prints the figures that replace them.
struct CopyCrossovers {
  CopyCrossover to_device = {.kernel_below_bytes = size_t{28} << 10, .kernel_min_runs = 32};
  CopyCrossover to_host = {.kernel_below_bytes = size_t{16} << 10, .kernel_min_runs = 32};
  CopyCrossover on_device = {.kernel_below_bytes = size_t{28} << 10, .kernel_min_runs = 2};

  const CopyCrossover& For(CopyDirection direction) const;
};

// Each run is in one of the lists, which are ascending by destination.
struct CopyPlan {
  std::vector<CopyPiece> copied;    // by the batched call; by the single one if it is only one
  std::vector<CopyPiece> gathered;  // by the kernel: multiples of 16 bytes at multiples of 16
};

// The direction of a copy of `pieces` (not empty) over the memory in `map`. REQUIRES: on each side
// all of them lie in memory of one kind, and they do not go from host to host.
CopyDirection DirectionOf(absl::Span<const CopyPiece> pieces, const MemoryMap& map);

// Pieces that touch on both sides become one run, but none that crosses an edge in `map`; empty
// pieces are left out. REQUIRES: as DirectionOf, and no two destinations overlap.
CopyPlan PlanCopies(absl::Span<const CopyPiece> pieces, CopyDirection direction,
                    const MemoryMap& map, const CopyCrossovers& crossovers);

}  // namespace reprise::cachestore
