// The prefill kernel of sm_90a of one KV type, compiled for each head_dim. A .cu file to a type.
#pragma once

#include "engine/backend/cuda/kernels/launchers.h"
#include "engine/backend/cuda/kernels/prefill_sm90.cuh"

namespace reprise::engine::cuda {

// 168 registers a thread at entry, which the consumers raise and the others lower.
template <KvType kType, int kHeadDim>
__global__ void __launch_bounds__(kSm90Threads, 1)
    PrefillSm90Kernel(const __grid_constant__ PrefillSm90Params params) {
  PrefillSm90Block<kType, kHeadDim>(params);
}

template <KvType kType, int kHeadDim>
cudaError_t LaunchSm90Kernel(const PrefillSm90Params& params, int num_items, cudaStream_t stream) {
  const LaunchShape shape = Sm90Shape(kHeadDim, num_items);
  const cudaError_t error =
      cudaFuncSetAttribute(PrefillSm90Kernel<kType, kHeadDim>,
                           cudaFuncAttributeMaxDynamicSharedMemorySize, shape.shared_bytes);
  if (error != cudaSuccess) return error;
  PrefillSm90Kernel<kType, kHeadDim>
      <<<shape.grid_x, shape.threads, shape.shared_bytes, stream>>>(params);
  return cudaGetLastError();
}

// One KV type's part of the launcher. REQUIRES: head_dim 64 or 128.
template <KvType kType>
cudaError_t LaunchSm90Of(const PrefillSm90Params& params, int num_items, cudaStream_t stream) {
  return params.prefill.kv.head_dim == 64 ? LaunchSm90Kernel<kType, 64>(params, num_items, stream)
                                          : LaunchSm90Kernel<kType, 128>(params, num_items, stream);
}

extern template cudaError_t LaunchSm90Of<KvType::kBF16>(const PrefillSm90Params&, int,
                                                        cudaStream_t);
extern template cudaError_t LaunchSm90Of<KvType::kF16>(const PrefillSm90Params&, int, cudaStream_t);

}  // namespace reprise::engine::cuda
