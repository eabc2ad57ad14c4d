// How kernels over rows read and write: four floats at a time, and sums over a block in an order
// that the row's length alone decides.
#pragma once

#include "engine/backend/cuda/kernels/device_code.h"
#include "engine/backend/cuda/kernels/row_params.h"

namespace reprise::engine::cuda {

struct alignas(16) Floats4 {
  float at[4];
};

REPRISE_DEVICE Floats4 LoadFloats4(const float* from) {
  return *reinterpret_cast<const Floats4*>(from);
}
REPRISE_DEVICE void StoreFloats4(const Floats4& value, float* to) {
  *reinterpret_cast<Floats4*>(to) = value;
}

// Four numbers rounded to bf16.
REPRISE_DEVICE void StoreNarrowed(const Floats4& value, uint16_t* to) {
  auto* words = reinterpret_cast<uint32_t*>(to);
  words[0] = PackBF16(value.at[0], value.at[1]);
  words[1] = PackBF16(value.at[2], value.at[3]);
}

// Numbers that nobody narrowed as he wrote them, four to a thread: 6 bytes a number; memory is the
// limit.
REPRISE_DEVICE void NarrowBlock(const NarrowParams& params) {
  const int64_t i = 4 * (static_cast<int64_t>(BlockX()) * kRowThreads + ThreadInBlock());
  if (i + 4 <= params.count) {
    StoreNarrowed(LoadFloats4(params.x + i), params.narrowed + i);
    return;
  }
  for (int64_t j = i; j < params.count; ++j) {
    params.narrowed[j] = static_cast<uint16_t>(PackBF16(params.x[j], 0.0f));
  }
}

// The sum of all threads' values, the same bits in each: lanes, then warps in order. By all threads
// of a block of kRowThreads.
REPRISE_DEVICE float BlockSum(float value) {
  const Shared<float> sums(SharedBase());
  value = WarpSum(value);
  if (Lane() == 0) sums[WarpInBlock()] = value;
  SyncBlock();
  float total = 0;
  for (int w = 0; w < kRowWarps; ++w) total = AddRn(total, sums[w]);
  SyncBlock();
  return total;
}

}  // namespace reprise::engine::cuda
