// What the prefill kernel of sm_90a is launched with, besides PrefillParams. Plain data.
#pragma once

#include "engine/backend/cuda/kernels/prefill_params.h"

namespace reprise::engine::cuda {

inline constexpr PrefillTiling kSm90Tiling = {128, 128};
inline constexpr int kSm90Stages = 2;
inline constexpr int kSm90Consumers = 256;  // threads: two warpgroups, 64 pairs each
inline constexpr int kSm90Threads = kSm90Consumers + 128;

// The item's q, the stages' keys and values (16-bit elements), barriers and one flag.
constexpr int Sm90SharedBytes(int head_dim) {
  return (kSm90Tiling.pairs + 2 * kSm90Stages * kSm90Tiling.tile) * head_dim * 2 + 128;
}

constexpr LaunchShape Sm90Shape(int head_dim, int num_items) {
  return {num_items, 1, kSm90Threads, Sm90SharedBytes(head_dim)};
}

// Whether the kernel takes such blocks: bf16 or f16, head_dim 64 or 128, block_tokens a power of
// two, at least 8; keys and values of each block at multiples of a row from the arena's start.
constexpr bool FitsSm90(const PagedKv& kv) {
  return (kv.type == KvType::kBF16 || kv.type == KvType::kF16) &&
         (kv.head_dim == 64 || kv.head_dim == 128) && kv.row_bytes == kv.head_dim * 2 &&
         kv.block_tokens >= 8 && (kv.block_tokens & (kv.block_tokens - 1)) == 0 &&
         kv.keys_offset % kv.row_bytes == 0 && kv.values_offset % kv.row_bytes == 0;
}

// Rows of a block that one copy brings.
constexpr int Sm90BoxRows(int block_tokens) {
  return block_tokens < kSm90Tiling.tile ? block_tokens : kSm90Tiling.tile;
}

}  // namespace reprise::engine::cuda
