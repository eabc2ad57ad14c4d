// The kernel for small pieces; what a thread does, its operands and its floor: gather_copy.h.
#include "cachestore/memory/cuda/launch_gather_copy.h"
#include "cachestore/memory/gather_copy.h"

namespace reprise::cachestore {
namespace {

__global__ void __launch_bounds__(kGatherThreads)
    GatherCopyKernel(const __grid_constant__ GatherRuns runs) {
  CopyGathered(runs, blockIdx.x, gridDim.x, threadIdx.x, blockDim.x);
}

}  // namespace

cudaError_t LaunchGatherCopy(const GatherRuns& runs, cudaStream_t stream) {
  const uint32_t blocks = runs.size < kGatherBlocks ? runs.size : kGatherBlocks;
  if (blocks == 0) return cudaSuccess;
  GatherCopyKernel<<<blocks, kGatherThreads, 0, stream>>>(runs);
  return cudaGetLastError();
}

cudaError_t CheckGatherCopy() {
  cudaFuncAttributes attributes;
  return cudaFuncGetAttributes(&attributes, GatherCopyKernel);
}

}  // namespace reprise::cachestore
