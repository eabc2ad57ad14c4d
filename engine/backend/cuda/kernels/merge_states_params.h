// What the merge kernel is told; merge_states.cuh has the shapes. Plain data.
#pragma once

#include "engine/backend/cuda/kernels/launch_types.h"

namespace reprise::engine::cuda {

struct MergeStatesParams {
  const float* states = nullptr;
  int64_t part_stride = 0;        // floats from one part to the next
  int32_t parts = 0;              // of each row's positions, in order
  const int32_t* rows = nullptr;  // those that are merged
  float* out = nullptr;
  int32_t heads = 0;
  int32_t head_dim = 0;

  friend bool operator==(const MergeStatesParams&, const MergeStatesParams&) = default;
};

constexpr LaunchShape MergeStatesShape(int num_rows, int heads) { return {num_rows, heads, 32, 0}; }

}  // namespace reprise::engine::cuda
