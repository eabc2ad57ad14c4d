// From the product of q, k and v to attention: splits it, normalizes heads, rotates them by their
// position, writes q, and encodes k and v into their blocks, of any KV format.
//
//     qkv  f32 [rows, (heads + 2 kv_heads) x head_dim]; q f32 [rows, heads x head_dim]
//
// One warp to a head of a row. Bytes a row: 4 (heads + 2 kv_heads) head_dim read, 4 heads x
// head_dim and 2 kv_heads x (row_bytes + scales) written, and 4 rotary_dim of the table, from
// cache; about 10 operations an element: memory, or at decode the launch, is the limit.
//
// Rotation rounds every product and sum, encoding as kv_codec.h does: from equal k and v the bytes
// are equal. The sum of a head norm is taken in another order than the CPU's.
#pragma once

#include "engine/backend/cuda/kernels/kv_elements.cuh"
#include "engine/backend/cuda/kernels/paged_kv.cuh"
#include "engine/backend/cuda/kernels/row_params.h"

namespace reprise::engine::cuda {

// x [head_dim] = x / rms(x) x weight. By one warp.
REPRISE_DEVICE void NormalizeHead(const Shared<float>& x, int head_dim, const float* weight,
                                  float epsilon) {
  float squares = 0;
  for (int c = Lane(); c < head_dim; c += kLanes) squares = AddRn(squares, MulRn(x[c], x[c]));
  const float mean = DivRn(WarpSum(squares), static_cast<float>(head_dim));
  const float inverse = DivRn(1.0f, SqrtRn(AddRn(mean, epsilon)));
  for (int c = Lane(); c < head_dim; c += kLanes) x[c] = MulRn(MulRn(x[c], inverse), weight[c]);
}

// Rotates pairs (i, i + rotary_dim / 2) of x. By one warp.
REPRISE_DEVICE void RotateHead(const Shared<float>& x, const RopeAppendParams& params,
                               int position) {
  const int half = params.rotary_dim / 2;
  const float* cosines = params.rope_pages[position / kRopePagePositions] +
                         static_cast<int64_t>(position % kRopePagePositions) * params.rotary_dim;
  const float* sines = cosines + half;
  for (int i = Lane(); i < half; i += kLanes) {
    const float a = x[i];
    const float b = x[half + i];
    x[i] = SubRn(MulRn(a, cosines[i]), MulRn(b, sines[i]));
    x[half + i] = AddRn(MulRn(b, cosines[i]), MulRn(a, sines[i]));
  }
}

// The kernel. Block (row, four heads of q, k and v, which follow each other).
REPRISE_DEVICE void RopeAppendBlock(const RopeAppendParams& params) {
  const PagedKv& kv = params.kv;
  const int head_dim = kv.head_dim;
  const int all_heads = params.heads + 2 * kv.kv_heads;
  const int head = BlockY() * kRopeWarps + WarpInBlock();
  if (head >= all_heads) return;  // a whole warp
  const bool is_q = head < params.heads;
  const bool is_v = head >= params.heads + kv.kv_heads;
  const AttentionRow row = params.rows[BlockX()];
  const int position = row.length - 1;
  const Shared<float> x(SharedBase() + WarpInBlock() * head_dim * 4);
  const float* from = params.qkv + (static_cast<int64_t>(BlockX()) * all_heads + head) * head_dim;
  for (int c = Lane(); c < head_dim; c += kLanes) x[c] = from[c];
  SyncWarp();
  const float* norm = is_q ? params.q_norm : is_v ? nullptr : params.k_norm;
  if (norm != nullptr) {
    NormalizeHead(x, head_dim, norm, params.epsilon);
    SyncWarp();
  }
  if (!is_v && params.rotary_dim > 0) {
    RotateHead(x, params, position);
    SyncWarp();
  }
  if (is_q) {
    float* to = params.q + (static_cast<int64_t>(BlockX()) * params.heads + head) * head_dim;
    for (int c = Lane(); c < head_dim; c += kLanes) to[c] = x[c];
    return;
  }
  const int kv_head = (head - params.heads) % kv.kv_heads;
  const KvRow to =
      RowOf(kv, is_v ? kv.values_offset : kv.keys_offset, row.sequence, kv_head, position);
  EncodeRow(kv.type, x, head_dim, to.elements, to.scales);
}

}  // namespace reprise::engine::cuda
