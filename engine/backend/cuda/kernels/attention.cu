#include "engine/backend/cuda/kernels/decode_attention_launch.cuh"
#include "engine/backend/cuda/kernels/generic_attention.cuh"
#include "engine/backend/cuda/kernels/merge_states.cuh"
#include "engine/backend/cuda/kernels/prefill_attention_launch.cuh"

namespace reprise::engine::cuda {
namespace {

__global__ void __launch_bounds__(kLanes)
    GenericAttentionKernel(const __grid_constant__ GenericAttentionParams params) {
  GenericAttentionBlock(params);
}

__global__ void __launch_bounds__(kLanes)
    MergeStatesKernel(const __grid_constant__ MergeStatesParams params) {
  MergeStatesBlock(params);
}

}  // namespace

cudaError_t LaunchGenericAttention(const GenericAttentionParams& params, int num_rows,
                                   cudaStream_t stream) {
  if (params.kv.head_dim > kGenericMostDims) return cudaErrorInvalidValue;
  const LaunchShape shape = GenericAttentionShape(num_rows, params.heads);
  GenericAttentionKernel<<<dim3(shape.grid_x, shape.grid_y), shape.threads, 0, stream>>>(params);
  return cudaGetLastError();
}

cudaError_t LaunchMergeStates(const MergeStatesParams& params, int num_rows, cudaStream_t stream) {
  const LaunchShape shape = MergeStatesShape(num_rows, params.heads);
  MergeStatesKernel<<<dim3(shape.grid_x, shape.grid_y), shape.threads, 0, stream>>>(params);
  return cudaGetLastError();
}

cudaError_t LaunchDecodeAttention(const DecodeParams& params, int num_blocks, cudaStream_t stream) {
  switch (params.kv.type) {
    case KvType::kBF16:
      return LaunchDecodeOf<KvType::kBF16>(params, num_blocks, stream);
    case KvType::kF16:
      return LaunchDecodeOf<KvType::kF16>(params, num_blocks, stream);
    case KvType::kE4M3:
      return LaunchDecodeOf<KvType::kE4M3>(params, num_blocks, stream);
    case KvType::kInt8:
      return LaunchDecodeOf<KvType::kInt8>(params, num_blocks, stream);
    default:
      return cudaErrorInvalidValue;
  }
}

cudaError_t DecodeAttentionBlocks(KvType type, int head_dim, int* num_blocks) {
  switch (type) {
    case KvType::kBF16:
      return CountDecodeBlocksOf<KvType::kBF16>(head_dim, num_blocks);
    case KvType::kF16:
      return CountDecodeBlocksOf<KvType::kF16>(head_dim, num_blocks);
    case KvType::kE4M3:
      return CountDecodeBlocksOf<KvType::kE4M3>(head_dim, num_blocks);
    case KvType::kInt8:
      return CountDecodeBlocksOf<KvType::kInt8>(head_dim, num_blocks);
    default:
      return cudaErrorInvalidValue;
  }
}

cudaError_t LaunchPrefillAttention(const PrefillParams& params, int num_items,
                                   cudaStream_t stream) {
  switch (params.kv.type) {
    case KvType::kBF16:
      return LaunchPrefillOf<KvType::kBF16>(params, num_items, stream);
    case KvType::kF16:
      return LaunchPrefillOf<KvType::kF16>(params, num_items, stream);
    case KvType::kE4M3:
      return LaunchPrefillOf<KvType::kE4M3>(params, num_items, stream);
    case KvType::kInt8:
      return LaunchPrefillOf<KvType::kInt8>(params, num_items, stream);
    default:
      return cudaErrorInvalidValue;
  }
}

}  // namespace reprise::engine::cuda
