// What device code is written in. A kernel is a function of plain C++ over the words below, so that
// nvcc compiles it for cards and the host's compiler for the emulation; nothing else of the tree
// knows which of the two is reading it.
#pragma once

#ifdef __CUDACC__
#include "engine/backend/cuda/kernels/cuda_words.cuh"
#else
#include "engine/backend/cuda/emulation/device_words.h"
#endif

namespace reprise::engine::cuda {

inline constexpr int kLanes = 32;

REPRISE_DEVICE int Lane() { return ThreadInBlock() % kLanes; }
REPRISE_DEVICE int WarpInBlock() { return ThreadInBlock() / kLanes; }

// The warp's lanes' values put together; the same bits in each lane.
REPRISE_DEVICE float WarpMax(float value) {
  for (int mask = kLanes / 2; mask > 0; mask /= 2) value = Max(value, ShuffleXor(value, mask));
  return value;
}
REPRISE_DEVICE float WarpSum(float value) {
  for (int mask = kLanes / 2; mask > 0; mask /= 2) value = AddRn(value, ShuffleXor(value, mask));
  return value;
}

// An array in shared memory. Places are checked under emulation.
template <typename T>
class Shared {
 public:
  REPRISE_DEVICE explicit Shared(uint8_t* base) : data_(reinterpret_cast<T*>(base)) {}
  REPRISE_DEVICE T& operator[](int i) const {
    CheckShared(data_ + i, sizeof(T), alignof(T));
    return data_[i];
  }
  // For words that check by themselves.
  REPRISE_DEVICE T* at(int i) const { return data_ + i; }

 private:
  T* data_;
};

}  // namespace reprise::engine::cuda
