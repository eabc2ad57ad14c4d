#include "engine/backend/cuda/prefill_plan.h"

#include <algorithm>

#include "cachestore/base/check.h"

namespace reprise::engine::cuda {
namespace {

int32_t RoundUp(int32_t value, int32_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// One item for each set of rows and kv head, with all positions that its rows see.
std::vector<PrefillItem> WholeItems(absl::Span<const PrefillRows> rows, int kv_heads, int group,
                                    int32_t window, const PrefillTiling& tiling) {
  const int32_t item_rows = tiling.pairs / group;
  std::vector<PrefillItem> items;
  for (const PrefillRows& sequence : rows) {
    CHECK(sequence.num_rows > 0 && sequence.start >= 0);
    for (int32_t row = 0; row < sequence.num_rows; row += item_rows) {
      PrefillItem item;
      item.first_row = sequence.first_row + row;
      item.num_rows = std::min(item_rows, sequence.num_rows - row);
      item.sequence = sequence.sequence;
      item.start = sequence.start + row;
      const int32_t first = item.start >= window ? item.start + 1 - window : 0;
      item.kv_begin = first / tiling.tile * tiling.tile;
      item.kv_end = std::min(item.start + item.num_rows, sequence.end);
      for (item.kv_head = 0; item.kv_head < kv_heads; ++item.kv_head) items.push_back(item);
    }
  }
  return items;
}

}  // namespace

PrefillPlan PlanPrefill(absl::Span<const PrefillRows> rows, int kv_heads, int group, int32_t window,
                        int num_blocks, const PrefillTiling& tiling) {
  CHECK(kv_heads > 0 && group > 0 && group <= tiling.pairs && window > 0 && num_blocks > 0);
  const std::vector<PrefillItem> whole = WholeItems(rows, kv_heads, group, window, tiling);
  const auto wanted =
      static_cast<int32_t>((num_blocks + whole.size() - 1) / std::max<size_t>(1, whole.size()));
  PrefillPlan plan;
  for (const PrefillItem& item : whole) {
    const int32_t positions = item.kv_end - item.kv_begin;
    const int32_t pieces = std::clamp(positions / kLeastPiece, 1, wanted);
    const int32_t length = RoundUp((positions + pieces - 1) / pieces, tiling.tile);
    PrefillItem piece = item;
    piece.pieces = (positions + length - 1) / length;
    piece.first_state = static_cast<int32_t>(plan.num_states);
    piece.counter = plan.num_counters;
    if (piece.pieces > 1) {
      plan.num_states += piece.pieces;
      ++plan.num_counters;
    }
    for (piece.piece = 0; piece.piece < piece.pieces; ++piece.piece) {
      piece.kv_begin = item.kv_begin + piece.piece * length;
      piece.kv_end = std::min(piece.kv_begin + length, item.kv_end);
      plan.items.push_back(piece);
    }
  }
  std::stable_sort(plan.items.begin(), plan.items.end(),
                   [](const PrefillItem& a, const PrefillItem& b) {
                     return a.kv_end - a.kv_begin > b.kv_end - b.kv_begin;
                   });
  return plan;
}

}  // namespace reprise::engine::cuda
