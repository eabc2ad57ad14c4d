// AttentionTask: one unit of attention work, as the plan makes it and the vector kernels see it.
// Plain data; owns nothing.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cachestore/block/kv_layout.h"
#include "engine/backend/kv_rows.h"

namespace reprise::engine {

// Positions of one online-softmax step, and of one range: a range starts with a state of its own,
// and the states of ranges are merged in order. Both fixed: they decide the order of roundings.
inline constexpr int64_t kAttentionTile = 64;
inline constexpr int64_t kAttentionRange = 4 * kAttentionTile;

// A window over every position there can be.
inline constexpr int64_t kNoWindow = int64_t{1} << 62;

// Rows [first_row, first_row + num_rows) of the batch, at positions start ..., for the `group`
// heads that share one kv head.
struct AttentionTask {
  const float* q = nullptr;  // of the first row and first head of the group
  float* out = nullptr;      // likewise
  int64_t row_stride = 0;    // floats from one row of q and out to the next
  int64_t num_rows = 0;
  int64_t start = 0;
  int64_t group = 0;
  int64_t head_dim = 0;
  float scale = 0;
  cachestore::DType kv_dtype = cachestore::DType::kF32;
  KvRows keys;
  KvRows values;
  int64_t window = kNoWindow;  // a row sees itself and the window - 1 positions before it
  float softcap = 0;           // as AttentionScheme's

  // Positions that its last row sees.
  int64_t end() const { return start + num_rows; }
  // Where the first range starts that any of its rows sees.
  int64_t first_range() const {
    return std::max<int64_t>(0, start + 1 - window) / kAttentionRange * kAttentionRange;
  }
};

// head_dim rounded up to whole vectors of any target.
constexpr int64_t PaddedHeadDim(int64_t head_dim) { return (head_dim + 15) / 16 * 16; }

// The online softmax of (row, head) pairs over some positions.
struct AttentionState {
  float* sums = nullptr;     // [pairs, padded]: sum of p v
  float* weights = nullptr;  // [pairs, 16]: lane sums of p
  float* maxima = nullptr;   // [pairs]: largest score; minus infinity when none was seen

  static int64_t Floats(int64_t pairs, int64_t padded) { return pairs * (padded + 16 + 16); }

  AttentionState() = default;
  // At `base`, aligned to 64 bytes.
  AttentionState(float* base, int64_t pairs, int64_t padded)
      : sums(base), weights(sums + pairs * padded), maxima(weights + pairs * 16) {}
};

// `base` or the next address that is a multiple of 64 bytes, at most 15 floats further.
inline float* AlignUp(float* base) {
  return reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(base) + 63) / 64 * 64);
}

// Places of a thread's buffers for tasks of up to `pairs` (row, head) pairs. Counts are in floats.
struct AttentionBuffers {
  AttentionState merged;     // of the ranges so far
  AttentionState range;      // of the range at work
  float* queries = nullptr;  // [pairs, padded]: q x scale, zero-padded
  float* keys = nullptr;     // [padded, tile]: transposed keys
  float* rows = nullptr;     // [tile, padded]: keys or values decoded or padded
  float* zeros = nullptr;    // [padded]
  float* scores = nullptr;   // [6, tile]

  static int64_t Floats(int64_t pairs, int64_t padded) {
    return 2 * AttentionState::Floats(pairs, padded) + pairs * padded +
           (2 * kAttentionTile + 1) * padded + 6 * kAttentionTile + 16;
  }

  AttentionBuffers(float* base, int64_t pairs, int64_t padded) {
    float* next = AlignUp(base);
    const auto take = [&next](int64_t count) {
      float* place = next;
      next += count;
      return place;
    };
    merged = AttentionState(take(AttentionState::Floats(pairs, padded)), pairs, padded);
    range = AttentionState(take(AttentionState::Floats(pairs, padded)), pairs, padded);
    queries = take(pairs * padded);
    keys = take(padded * kAttentionTile);
    rows = take(padded * kAttentionTile);
    zeros = take(padded);
    scores = take(6 * kAttentionTile);
  }
};

}  // namespace reprise::engine
