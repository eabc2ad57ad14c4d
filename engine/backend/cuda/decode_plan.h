// DecodePlan: the KV that a batch of decode rows reads, cut into equal shares for the blocks of the
// decode kernel, whatever the rows' lengths. Pure; the same rows give the same plan, so the same
// bits.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "engine/backend/cuda/kernels/decode_params.h"

namespace reprise::engine::cuda {

struct DecodePlan {
  std::vector<DecodeSegment> segments;
  std::vector<int32_t> first_segment;  // [blocks + 1]
  int64_t num_states = 0;
  // Segments and states are no more than these for as many rows of any lengths.
  int64_t most_segments = 0;
};

// What a segment costs beside its tiles, in tiles: its query, and merging four warps' states.
inline constexpr int64_t kSegmentCost = 2;
// Segments that one row and head tile is cut into at most: a single block merges them.
inline constexpr int64_t kMaxPieces = 32;

// Cuts the tiles of `rows` x `head_tiles` for `num_blocks` blocks, all of which run at once. A
// share is at most the mean, costs included, and one tile; larger where kMaxPieces asks for it.
// `prefixes` (empty: none): positions of each row that others see (cascade_plan.h), which are left
// out. REQUIRES: every row is longer than its prefix, a multiple of kDecodeTile.
DecodePlan PlanDecode(absl::Span<const AttentionRow> rows, int head_tiles, int32_t window,
                      int num_blocks, absl::Span<const int32_t> prefixes = {});

}  // namespace reprise::engine::cuda
