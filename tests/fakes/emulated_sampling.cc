// The launchers of sampling, and of narrowing, over the emulation; see emulated_launchers.cc.
#include "engine/backend/cuda/kernels/launchers.h"
#include "engine/backend/cuda/kernels/row_access.cuh"
#include "engine/backend/cuda/kernels/sample.cuh"
#include "tests/fakes/emulated_launch.h"

namespace reprise::engine::cuda {

cudaError_t LaunchNarrow(const NarrowParams& params, cudaStream_t stream) {
  return EnqueueEmulated(stream, NarrowShape(params.count), [params] { NarrowBlock(params); });
}

// Of as few threads as do: the emulation takes time for each.
cudaError_t LaunchSample(const SampleParams& params, int num_rows, cudaStream_t stream) {
  if (params.vocab <= 0 || params.vocab > kMostVocab) return cudaErrorInvalidValue;
  return EnqueueEmulated(stream, SampleShape(num_rows, kSampleBins),
                         [params] { SampleBlock(params); });
}

}  // namespace reprise::engine::cuda
