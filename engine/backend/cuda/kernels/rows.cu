#include "engine/backend/cuda/kernels/activation.cuh"
#include "engine/backend/cuda/kernels/embed_norm.cuh"
#include "engine/backend/cuda/kernels/launchers.h"
#include "engine/backend/cuda/kernels/rope_append.cuh"

namespace reprise::engine::cuda {
namespace {

__global__ void __launch_bounds__(kRowThreads, 4)
    EmbedKernel(const __grid_constant__ EmbedParams params) {
  EmbedBlock(params);
}

__global__ void __launch_bounds__(kRowThreads, 4)
    NormKernel(const __grid_constant__ NormParams params) {
  NormBlock(params);
}

__global__ void __launch_bounds__(kRowThreads, 4)
    ActivationKernel(const __grid_constant__ ActivationParams params) {
  ActivationBlock(params);
}

__global__ void __launch_bounds__(kRowThreads)
    NarrowKernel(const __grid_constant__ NarrowParams params) {
  NarrowBlock(params);
}

__global__ void __launch_bounds__(kRopeWarps* kLanes)
    RopeAppendKernel(const __grid_constant__ RopeAppendParams params) {
  RopeAppendBlock(params);
}

}  // namespace

cudaError_t LaunchEmbed(const EmbedParams& params, int num_rows, cudaStream_t stream) {
  const LaunchShape shape = RowShape(num_rows);
  EmbedKernel<<<shape.grid_x, shape.threads, 0, stream>>>(params);
  return cudaGetLastError();
}

cudaError_t LaunchNorm(const NormParams& params, int num_rows, cudaStream_t stream) {
  if (params.cols % 4 != 0) return cudaErrorInvalidValue;
  const LaunchShape shape = RowShape(num_rows);
  NormKernel<<<shape.grid_x, shape.threads, shape.shared_bytes, stream>>>(params);
  return cudaGetLastError();
}

cudaError_t LaunchNarrow(const NarrowParams& params, cudaStream_t stream) {
  const LaunchShape shape = NarrowShape(params.count);
  NarrowKernel<<<shape.grid_x, shape.threads, 0, stream>>>(params);
  return cudaGetLastError();
}

cudaError_t LaunchActivation(const ActivationParams& params, int num_rows, cudaStream_t stream) {
  if (params.cols % 4 != 0) return cudaErrorInvalidValue;
  const LaunchShape shape = RowShape(num_rows);
  ActivationKernel<<<shape.grid_x, shape.threads, 0, stream>>>(params);
  return cudaGetLastError();
}

cudaError_t LaunchRopeAppend(const RopeAppendParams& params, int num_rows, cudaStream_t stream) {
  const LaunchShape shape =
      RopeAppendShape(num_rows, params.heads, params.kv.kv_heads, params.kv.head_dim);
  RopeAppendKernel<<<dim3(shape.grid_x, shape.grid_y), shape.threads, shape.shared_bytes, stream>>>(
      params);
  return cudaGetLastError();
}

}  // namespace reprise::engine::cuda
