// The decode kernel of one KV type, compiled for each head_dim. A .cu file to a type, so that they
// compile side by side.
#pragma once

#include "engine/backend/cuda/kernels/decode_attention.cuh"
#include "engine/backend/cuda/kernels/launchers.h"

namespace reprise::engine::cuda {

// Blocks to a multiprocessor: 2 leave a thread 255 registers, 3 leave it 168, 4 leave it 128. What
// is under way of K and V, half of a tile or more a warp, is 24 KiB a multiprocessor at least.
template <KvType kType, int kHeadDim>
constexpr int DecodeBlocksAProcessor() {
  return kHeadDim <= 64 ? 4 : KvFragment<kType>::kIs16Bit ? 2 : 3;
}

template <KvType kType, int kHeadDim>
__global__ void __launch_bounds__(kDecodeThreads, (DecodeBlocksAProcessor<kType, kHeadDim>()))
    DecodeAttentionKernel(const __grid_constant__ DecodeParams params) {
  DecodeAttentionBlock<kType, kHeadDim>(params);
}

template <KvType kType, int kHeadDim>
cudaError_t LaunchDecodeKernel(const DecodeParams& params, int num_blocks, cudaStream_t stream) {
  const LaunchShape shape = DecodeShape(kHeadDim, num_blocks);
  DecodeAttentionKernel<kType, kHeadDim>
      <<<shape.grid_x, shape.threads, shape.shared_bytes, stream>>>(params);
  return cudaGetLastError();
}

template <KvType kType, int kHeadDim>
cudaError_t CountDecodeBlocks(int* num_blocks) {
  int card = 0;
  int processors = 0;
  int a_processor = 0;
  cudaError_t error = cudaGetDevice(&card);
  if (error != cudaSuccess) return error;
  error = cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, card);
  if (error != cudaSuccess) return error;
  error = cudaOccupancyMaxActiveBlocksPerMultiprocessor(
      &a_processor, DecodeAttentionKernel<kType, kHeadDim>, kDecodeThreads,
      DecodeSharedBytes(kHeadDim));
  *num_blocks = processors * a_processor;
  return error;
}

// One KV type's part of the launchers.
template <KvType kType>
cudaError_t LaunchDecodeOf(const DecodeParams& params, int num_blocks, cudaStream_t stream) {
  switch (params.kv.head_dim) {
    case 64:
      return LaunchDecodeKernel<kType, 64>(params, num_blocks, stream);
    case 128:
      return LaunchDecodeKernel<kType, 128>(params, num_blocks, stream);
    default:
      return cudaErrorInvalidValue;
  }
}

template <KvType kType>
cudaError_t CountDecodeBlocksOf(int head_dim, int* num_blocks) {
  switch (head_dim) {
    case 64:
      return CountDecodeBlocks<kType, 64>(num_blocks);
    case 128:
      return CountDecodeBlocks<kType, 128>(num_blocks);
    default:
      return cudaErrorInvalidValue;
  }
}

#define REPRISE_DECLARE_DECODE(type)                                                        \
  extern template cudaError_t LaunchDecodeOf<type>(const DecodeParams&, int, cudaStream_t); \
  extern template cudaError_t CountDecodeBlocksOf<type>(int, int*)
REPRISE_DECLARE_DECODE(KvType::kBF16);
REPRISE_DECLARE_DECODE(KvType::kF16);
REPRISE_DECLARE_DECODE(KvType::kE4M3);
REPRISE_DECLARE_DECODE(KvType::kInt8);
#undef REPRISE_DECLARE_DECODE

}  // namespace reprise::engine::cuda
