// AttentionTask: one unit of attention work, as the vector kernel (attention_kernel.h) and its
// caller (cpu_attention.cc) see it. Plain data; owns nothing.
#pragma once

#include <cstdint>

#include "engine/backend/kv_rows.h"
#include "engine/backend/tensor.h"

namespace reprise::engine {

// Positions of one online-softmax step. Fixed: it decides the order of roundings.
inline constexpr int64_t kAttentionTile = 64;

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
  ElementType kv_type = ElementType::kF32;
  KvRows keys;
  KvRows values;
};

// head_dim rounded up to whole vectors of any target.
constexpr int64_t PaddedHeadDim(int64_t head_dim) { return (head_dim + 15) / 16 * 16; }

// Places of a thread's buffers for tasks of up to `pairs` (row, head) pairs. Counts are in floats.
struct AttentionBuffers {
  float* queries = nullptr;  // [pairs, padded]: q x scale, zero-padded
  float* sums = nullptr;     // [pairs, padded]: out before the division
  float* maxima = nullptr;   // [pairs]
  float* weights = nullptr;  // [pairs, 16]: lane sums of p
  float* keys = nullptr;     // [padded, tile]: transposed keys
  float* rows = nullptr;     // [tile, padded]: keys or values widened or padded
  float* zeros = nullptr;    // [padded]
  float* scores = nullptr;   // [6, tile]

  static int64_t Floats(int64_t pairs, int64_t padded) {
    return pairs * (2 * padded + 16 + 16) + (2 * kAttentionTile + 1) * padded + 6 * kAttentionTile +
           16;
  }

  AttentionBuffers(float* base, int64_t pairs, int64_t padded) {
    const uintptr_t aligned = (reinterpret_cast<uintptr_t>(base) + 63) / 64 * 64;
    float* next = reinterpret_cast<float*>(aligned);
    const auto take = [&next](int64_t count) {
      float* place = next;
      next += (count + 15) / 16 * 16;
      return place;
    };
    queries = take(pairs * padded);
    sums = take(pairs * padded);
    weights = take(pairs * 16);
    keys = take(padded * kAttentionTile);
    rows = take(padded * kAttentionTile);
    zeros = take(padded);
    scores = take(6 * kAttentionTile);
    maxima = take(pairs);
  }
};

}  // namespace reprise::engine
