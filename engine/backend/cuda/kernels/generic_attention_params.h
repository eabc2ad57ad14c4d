// What the generic attention kernel is told; generic_attention.cuh has the shapes. Plain data.
#pragma once

#include "engine/backend/cuda/kernels/launch_types.h"

namespace reprise::engine::cuda {

inline constexpr int kGenericMostDims = 256;

struct GenericAttentionParams {
  const float* q = nullptr;
  float* out = nullptr;
  PagedKv kv;
  const AttentionRow* rows = nullptr;
  int32_t heads = 0;
  int32_t window = kNoWindow;
  float scale_log2 = 0;    // the scale of scores, times log2(e)
  float softcap_log2 = 0;  // what scores are bounded by, times log2(e); 0: nothing

  friend bool operator==(const GenericAttentionParams&, const GenericAttentionParams&) = default;
};

constexpr LaunchShape GenericAttentionShape(int rows, int heads) { return {rows, heads, 32, 0}; }

}  // namespace reprise::engine::cuda
