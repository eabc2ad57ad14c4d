#include "cachestore/memory/copy_plan.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <optional>
#include <utility>

#include "cachestore/base/check.h"

namespace reprise::cachestore {
namespace {

constexpr size_t kKernelWordBytes = 16;

bool FitsKernel(const CopyPiece& run) {
  const uintptr_t bits =
      reinterpret_cast<uintptr_t>(run.to) | reinterpret_cast<uintptr_t>(run.from) | run.bytes;
  return bits % kKernelWordBytes == 0;
}

// Adds `piece` to `runs`, cut at the edges of `map` and merged with the last run where it may be.
void AddRuns(CopyPiece piece, const MemoryMap& map, std::vector<CopyPiece>& runs) {
  while (piece.bytes > 0) {
    const size_t bytes =
        std::min({piece.bytes, map.BytesToEdge(piece.to), map.BytesToEdge(piece.from)});
    CopyPiece* const last = runs.empty() ? nullptr : &runs.back();
    if (last != nullptr && last->to + last->bytes == piece.to &&
        last->from + last->bytes == piece.from && map.BytesToEdge(last->to) > last->bytes &&
        map.BytesToEdge(last->from) > last->bytes) {
      last->bytes += bytes;
    } else {
      runs.push_back({piece.to, piece.from, bytes});
    }
    piece = {piece.to + bytes, piece.from + bytes, piece.bytes - bytes};
  }
}

}  // namespace

const CopyCrossover& CopyCrossovers::For(CopyDirection direction) const {
  if (direction == CopyDirection::kOnDevice) return on_device;
  return direction == CopyDirection::kToHost ? to_host : to_device;
}

CopyDirection DirectionOf(absl::Span<const CopyPiece> pieces, const MemoryMap& map) {
  CHECK(!pieces.empty());
  std::optional<MemoryMap::Kind> to;
  std::optional<MemoryMap::Kind> from;
  for (const CopyPiece& piece : pieces) {
    if (piece.bytes == 0) continue;
    const std::optional<MemoryMap::Kind> piece_to = map.KindOf(piece.to, piece.bytes);
    const std::optional<MemoryMap::Kind> piece_from = map.KindOf(piece.from, piece.bytes);
    CHECK(piece_to.has_value() && piece_from.has_value());  // else neither reserved nor pinned
    CHECK(to.value_or(*piece_to) == *piece_to && from.value_or(*piece_from) == *piece_from);
    to = piece_to;
    from = piece_from;
  }
  const bool to_host = to == MemoryMap::Kind::kHost;
  const bool from_host = from == MemoryMap::Kind::kHost;
  CHECK(!(to_host && from_host));
  if (to_host) return CopyDirection::kToHost;
  return from_host ? CopyDirection::kToDevice : CopyDirection::kOnDevice;
}

CopyPlan PlanCopies(absl::Span<const CopyPiece> pieces, CopyDirection direction,
                    const MemoryMap& map, const CopyCrossovers& crossovers) {
  std::vector<CopyPiece> sorted(pieces.begin(), pieces.end());
  std::erase_if(sorted, [](const CopyPiece& piece) { return piece.bytes == 0; });
  std::sort(sorted.begin(), sorted.end(),
            [](const CopyPiece& a, const CopyPiece& b) { return a.to < b.to; });
  std::vector<CopyPiece> runs;
  for (const CopyPiece& piece : sorted) {
    CHECK(runs.empty() || runs.back().to + runs.back().bytes <= piece.to);
    AddRuns(piece, map, runs);
  }
  const CopyCrossover& crossover = crossovers.For(direction);
  const auto is_small = [&](const CopyPiece& run) {
    return run.bytes < crossover.kernel_below_bytes && FitsKernel(run);
  };
  const size_t num_small = std::count_if(runs.begin(), runs.end(), is_small);
  CopyPlan plan;
  if (num_small == 0 || num_small < crossover.kernel_min_runs) {
    plan.copied = std::move(runs);
    return plan;
  }
  std::partition_copy(runs.begin(), runs.end(), std::back_inserter(plan.gathered),
                      std::back_inserter(plan.copied), is_small);
  return plan;
}

}  // namespace reprise::cachestore
