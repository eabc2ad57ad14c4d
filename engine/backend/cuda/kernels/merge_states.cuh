// Merges what rows of attention saw of parts of their positions, in launches of their own.
//
//     states  f32 [parts][all rows][heads][head_dim + 2] (attention_state.cuh)
//     out     f32 [all rows][heads][head_dim]; those of `rows` are written
//
// One warp to a (row, head). Bytes: 4 heads x (parts x (head_dim + 2) + head_dim) a row;
// operations: 3 an element and part. At decode the launch is the limit.
#pragma once

#include "engine/backend/cuda/kernels/attention_state.cuh"
#include "engine/backend/cuda/kernels/merge_states_params.h"

namespace reprise::engine::cuda {

// The kernel. Block (i, head), for the row rows[i].
REPRISE_DEVICE void MergeStatesBlock(const MergeStatesParams& params) {
  const int head_dim = params.head_dim;
  const int64_t head = static_cast<int64_t>(params.rows[BlockX()]) * params.heads + BlockY();
  const float* states = params.states + head * StateFloats(head_dim);
  for (int c = Lane(); c < head_dim; c += kLanes) {
    StoreElement(MergeElement(states, params.part_stride, params.parts, head_dim, c),
                 {params.out, nullptr}, head, head_dim, c);
  }
}

}  // namespace reprise::engine::cuda
