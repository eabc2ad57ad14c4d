// What the decode kernel is told: its plan (decode_plan.h makes it) and its operands
// (decode_attention.cuh has their shapes). Plain data.
#pragma once

#include "engine/backend/cuda/kernels/launch_types.h"

namespace reprise::engine::cuda {

inline constexpr int kDecodeTile = 16;  // positions
inline constexpr int kTileHeads = 8;    // heads of a group that are computed together
inline constexpr int kDecodeWarps = 4;
inline constexpr int kDecodeThreads = 32 * kDecodeWarps;

// Tiles [tile_begin, tile_end), counted from position 0, of one row and kTileHeads of its heads.
struct DecodeSegment {
  int32_t row = 0;
  int32_t head_tile = 0;  // heads of a kv head are cut into tiles; a group of 8 or less is one
  int32_t tile_begin = 0;
  int32_t tile_end = 0;
  int32_t piece = 0;        // which of the segments of this row and head tile, in order
  int32_t pieces = 1;       // how many there are; one alone writes the output
  int32_t first_state = 0;  // the state of piece 0; the others follow
};

struct DecodeParams {
  const float* q = nullptr;
  float* out = nullptr;
  PagedKv kv;
  const AttentionRow* rows = nullptr;
  const DecodeSegment* segments = nullptr;
  const int32_t* first_segment = nullptr;  // [blocks + 1]
  float* states = nullptr;
  uint32_t* counters = nullptr;
  // [rows], or null: how many positions of a row others see, which its segments leave out. Where
  // that is not 0, the row leaves a state in row_states [rows][heads][head_dim + 2].
  const int32_t* prefixes = nullptr;
  float* row_states = nullptr;
  int32_t heads = 0;
  int32_t head_tiles = 0;  // of all heads
  int32_t window = kNoWindow;
  float scale_log2 = 0;  // the scale of scores, times log2(e)

  friend bool operator==(const DecodeParams&, const DecodeParams&) = default;
};

// Tiles of kTileHeads that `heads` make.
constexpr int HeadTiles(int heads, int kv_heads) {
  return kv_heads * ((heads / kv_heads + kTileHeads - 1) / kTileHeads);
}

// The warps' states and one flag.
constexpr int DecodeSharedBytes(int head_dim) {
  return kDecodeWarps * kTileHeads * (head_dim + 2) * 4 + 16;
}

constexpr LaunchShape DecodeShape(int head_dim, int num_blocks) {
  return {num_blocks, 1, kDecodeThreads, DecodeSharedBytes(head_dim)};
}

}  // namespace reprise::engine::cuda
