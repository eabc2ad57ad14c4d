// The prefill kernel of one KV type, compiled for each head_dim. A .cu file to a type, so that they
// compile side by side.
#pragma once

#include "engine/backend/cuda/kernels/launchers.h"
#include "engine/backend/cuda/kernels/prefill_attention.cuh"

namespace reprise::engine::cuda {

// 2 blocks to a multiprocessor: one computes while the other waits.
template <KvType kType, int kHeadDim>
__global__ void __launch_bounds__(kPrefillThreads, 2)
    PrefillAttentionKernel(const __grid_constant__ PrefillParams params) {
  PrefillAttentionBlock<kType, kHeadDim>(params);
}

template <KvType kType, int kHeadDim>
cudaError_t LaunchPrefillKernel(const PrefillParams& params, int num_items, cudaStream_t stream) {
  const LaunchShape shape = PrefillShape(params.kv.row_bytes, num_items);
  // Above 48 KiB shared memory is to be asked for. Costs little, and cards do not share the answer.
  const cudaError_t error =
      cudaFuncSetAttribute(PrefillAttentionKernel<kType, kHeadDim>,
                           cudaFuncAttributeMaxDynamicSharedMemorySize, shape.shared_bytes);
  if (error != cudaSuccess) return error;
  PrefillAttentionKernel<kType, kHeadDim>
      <<<shape.grid_x, shape.threads, shape.shared_bytes, stream>>>(params);
  return cudaGetLastError();
}

// One KV type's part of the launcher.
template <KvType kType>
cudaError_t LaunchPrefillOf(const PrefillParams& params, int num_items, cudaStream_t stream) {
  switch (params.kv.head_dim) {
    case 64:
      return LaunchPrefillKernel<kType, 64>(params, num_items, stream);
    case 128:
      return LaunchPrefillKernel<kType, 128>(params, num_items, stream);
    default:
      return cudaErrorInvalidValue;
  }
}

#define REPRISE_DECLARE_PREFILL(type) \
  extern template cudaError_t LaunchPrefillOf<type>(const PrefillParams&, int, cudaStream_t)
REPRISE_DECLARE_PREFILL(KvType::kBF16);
REPRISE_DECLARE_PREFILL(KvType::kF16);
REPRISE_DECLARE_PREFILL(KvType::kE4M3);
REPRISE_DECLARE_PREFILL(KvType::kInt8);
#undef REPRISE_DECLARE_PREFILL

}  // namespace reprise::engine::cuda
