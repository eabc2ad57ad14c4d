// Which decode rows read the same KV: sealed blocks are shared, so block tables tell. Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "engine/backend/cuda/kernels/launch_types.h"

namespace reprise::engine::cuda {

// Rows whose positions [0, positions) lie in the same blocks.
struct PrefixGroup {
  std::vector<int32_t> rows;  // of the batch, ascending
  int32_t positions = 0;      // a multiple of kGroupPositions and of block_tokens
};

// What a group is worth its two more launches from.
inline constexpr size_t kLeastGroupRows = 4;
inline constexpr int32_t kLeastGroupPositions = 512;
// Positions that are shared are counted in tiles of the prefill kernel.
inline constexpr int32_t kGroupPositions = 64;

// Disjoint groups of `rows`, such that the positions that are not read again are the most: of a
// system prompt that all have and longer prompts that some have, whichever saves more. Each row has
// at least one position more than its group, its own. `table` [sequences][table_stride] is the
// host's copy. Reads each row's shared entries once. REQUIRES: block_tokens is a power of two.
std::vector<PrefixGroup> FindPrefixGroups(absl::Span<const AttentionRow> rows,
                                          const uint32_t* table, int32_t table_stride,
                                          int32_t block_tokens);

}  // namespace reprise::engine::cuda
