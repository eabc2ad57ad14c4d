// Which kernel computes the rows of a sequence that has several in a step.
#pragma once

#include "engine/backend/cuda/kernels/prefill_sm90_params.h"

namespace reprise::engine::cuda {

enum class PrefillKernel {
  kMma,   // mma.sync: every card, every KV that tensor cores take
  kSm90,  // wgmma and TMA: compute capability 9.0. Has not run on a card yet: the default is kMma.
};

// The one to use for `kv` where `wanted` is wanted.
inline PrefillKernel ChoosePrefill(PrefillKernel wanted, const PagedKv& kv) {
  return wanted == PrefillKernel::kSm90 && FitsSm90(kv) ? PrefillKernel::kSm90
                                                        : PrefillKernel::kMma;
}

inline const PrefillTiling& TilingOf(PrefillKernel kernel) {
  return kernel == PrefillKernel::kSm90 ? kSm90Tiling : kPrefillTiling;
}

}  // namespace reprise::engine::cuda
