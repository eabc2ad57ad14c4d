// PrefillPlan: the rows of a batch cut into items for the blocks of a prefill kernel. Pure; the
// same rows give the same plan, so the same bits.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "engine/backend/cuda/kernels/prefill_params.h"

namespace reprise::engine::cuda {

// Rows [first_row, first_row + num_rows) of the batch, at positions start ... of `sequence`.
struct PrefillRows {
  int32_t first_row = 0;
  int32_t num_rows = 0;
  int32_t sequence = 0;
  int32_t start = 0;
  int32_t end = kNoWindow;  // they see no position from here on
};

struct PrefillPlan {
  std::vector<PrefillItem> items;  // those with most positions first
  int64_t num_states = 0;
  int32_t num_counters = 0;
};

// Positions that a piece of an item has at least: what it costs to merge its state is then little.
inline constexpr int32_t kLeastPiece = 512;

// Cuts `rows` into items of up to tiling.pairs (row, head) pairs; and, where that gives fewer than
// `num_blocks` items, the positions of each into pieces, at multiples of tiling.tile.
// REQUIRES: 0 < group <= tiling.pairs, no sequence without rows.
PrefillPlan PlanPrefill(absl::Span<const PrefillRows> rows, int kv_heads, int group, int32_t window,
                        int num_blocks, const PrefillTiling& tiling = kPrefillTiling);

}  // namespace reprise::engine::cuda
