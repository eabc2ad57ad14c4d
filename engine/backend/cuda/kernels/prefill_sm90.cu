#include "engine/backend/cuda/kernels/prefill_sm90_launch.cuh"
#include "engine/backend/cuda/kernels/tensor_map.h"

namespace reprise::engine::cuda {

cudaError_t LaunchPrefillSm90(const PrefillParams& params, int64_t arena_bytes, int num_items,
                              cudaStream_t stream) {
  if (!FitsSm90(params.kv)) return cudaErrorInvalidValue;
  PrefillSm90Params all;
  all.prefill = params;
  const RowsTensor rows = {params.kv.arena, arena_bytes / params.kv.row_bytes, params.kv.head_dim,
                           Sm90BoxRows(params.kv.block_tokens)};
  if (const cudaError_t error = EncodeTensorMap(rows, &all.rows); error != cudaSuccess) {
    return error;
  }
  return params.kv.type == KvType::kBF16 ? LaunchSm90Of<KvType::kBF16>(all, num_items, stream)
                                         : LaunchSm90Of<KvType::kF16>(all, num_items, stream);
}

}  // namespace reprise::engine::cuda
