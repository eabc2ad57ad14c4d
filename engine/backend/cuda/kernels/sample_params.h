// What the sampling kernel is told; sample.cuh has the shapes. Plain data.
#pragma once

#include "engine/backend/cuda/kernels/launch_types.h"

namespace reprise::engine::cuda {

inline constexpr int kSampleThreads = 1024;  // one block a row, of so many threads at most
inline constexpr int kSampleWarps = kSampleThreads / 32;
inline constexpr int kSampleBins = 256;         // and at least so many
inline constexpr int32_t kMostVocab = 1 << 19;  // sums of weights then fit 64 bits

// What is kept of a row's tokens, as SamplingParams say it, and the random number.
struct SampleRow {
  int32_t row = 0;        // of the logits
  float temperature = 0;  // 0: the largest logit
  int32_t top_k = 0;      // 0: all
  float top_p = 1;
  float min_p = 0;
  double uniform = 0;  // in [0, 1)
};

// Of a row with a NaN, +infinity, or nothing finite.
inline constexpr int32_t kNoToken = -1;

struct SampleParams {
  const float* logits = nullptr;
  const SampleRow* rows = nullptr;
  int32_t* tokens = nullptr;
  int32_t vocab = 0;  // at most kMostVocab
};

// Bins, what lanes hold of them, what was found; the warps' largest logits.
constexpr LaunchShape SampleShape(int rows, int threads = kSampleThreads) {
  return {rows, 1, threads, (kSampleBins + 32 + 2) * 8 + 3 * kSampleWarps * 4};
}

}  // namespace reprise::engine::cuda
