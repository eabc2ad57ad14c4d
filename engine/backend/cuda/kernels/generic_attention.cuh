// Attention of any row over paged KV of any type, head_dim (to 256) and block size, in plain f32:
// right, and slow. For what the kernels on tensor cores do not take: f32 and int4 KV, other
// head_dims, models that cap their scores.
//
//     q, out  f32 [rows, heads, head_dim]; heads a multiple of kv_heads
//
// One warp to a (row, head): it reads all KV that the row sees, 2 x length x row_bytes, once for
// each head of a group; 4 x length x head_dim operations, and decoding every element. A lane takes
// a position for the scores, and the dims lane, lane + 32, ... for the sums.
#pragma once

#include "engine/backend/cuda/kernels/device_code.h"
#include "engine/backend/cuda/kernels/generic_attention_params.h"
#include "engine/backend/cuda/kernels/kv_elements.cuh"
#include "engine/backend/cuda/kernels/paged_kv.cuh"
#include "engine/backend/cuda/kernels/soft_cap.cuh"

namespace reprise::engine::cuda {

// The score of `position`, in units of log2; minus infinity past the end.
REPRISE_DEVICE float GenericScore(const GenericAttentionParams& params, const float* q,
                                  int sequence, int kv_head, int position, int end) {
  if (position >= end) return -kInfinity;
  const PagedKv& kv = params.kv;
  const KvRow key = RowOf(kv, kv.keys_offset, sequence, kv_head, position);
  float sum = 0;
  for (int c = 0; c < kv.head_dim; ++c) {
    sum += q[c] * DecodeElement(kv.type, key.elements, key.scales, kv.head_dim, c);
  }
  const float score = sum * params.scale_log2;
  return params.softcap_log2 > 0 ? SoftCapped(score, params.softcap_log2) : score;
}

// The kernel. Block (row, head).
REPRISE_DEVICE void GenericAttentionBlock(const GenericAttentionParams& params) {
  const PagedKv& kv = params.kv;
  const AttentionRow row = params.rows[BlockX()];
  const int kv_head = BlockY() / (params.heads / kv.kv_heads);
  const int64_t place = (static_cast<int64_t>(BlockX()) * params.heads + BlockY()) * kv.head_dim;
  constexpr int kDims = kGenericMostDims / kLanes;
  float sums[kDims] = {};
  float largest = -kInfinity;
  float weight = 0;
  const int first = row.length > params.window ? row.length - params.window : 0;
  for (int begin = first; begin < row.length; begin += kLanes) {
    const float score =
        GenericScore(params, params.q + place, row.sequence, kv_head, begin + Lane(), row.length);
    const float top = Max(largest, WarpMax(score));
    const float factor = PowerOf2(largest - top);
    const float mine = PowerOf2(score - top);
    largest = top;
    weight = weight * factor + WarpSum(mine);
    for (int i = 0; i < kDims; ++i) sums[i] *= factor;
    const int count = row.length - begin < kLanes ? row.length - begin : kLanes;
    for (int t = 0; t < count; ++t) {
      const float p = ShuffleFrom(mine, t);
      const KvRow value = RowOf(kv, kv.values_offset, row.sequence, kv_head, begin + t);
      REPRISE_UNROLL
      for (int i = 0; i < kDims; ++i) {
        const int c = Lane() + i * kLanes;
        if (c >= kv.head_dim) break;
        sums[i] += p * DecodeElement(kv.type, value.elements, value.scales, kv.head_dim, c);
      }
    }
  }
  REPRISE_UNROLL
  for (int i = 0; i < kDims; ++i) {
    const int c = Lane() + i * kLanes;
    if (c < kv.head_dim) params.out[place + c] = sums[i] / weight;
  }
}

}  // namespace reprise::engine::cuda
