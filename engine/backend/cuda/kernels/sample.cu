#include "engine/backend/cuda/kernels/launchers.h"
#include "engine/backend/cuda/kernels/sample.cuh"

namespace reprise::engine::cuda {
namespace {

__global__ void __launch_bounds__(kSampleThreads)
    SampleKernel(const __grid_constant__ SampleParams params) {
  SampleBlock(params);
}

}  // namespace

cudaError_t LaunchSample(const SampleParams& params, int num_rows, cudaStream_t stream) {
  if (params.vocab <= 0 || params.vocab > kMostVocab) return cudaErrorInvalidValue;
  const LaunchShape shape = SampleShape(num_rows);
  SampleKernel<<<shape.grid_x, shape.threads, shape.shared_bytes, stream>>>(params);
  return cudaGetLastError();
}

}  // namespace reprise::engine::cuda
