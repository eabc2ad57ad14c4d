// The launchers over the emulation, for LazyDevice: a stream is one of its queues. A kernel runs
// when the device gets to it, on what its operands hold by then.
#include "engine/backend/cuda/kernels/activation.cuh"
#include "engine/backend/cuda/kernels/decode_attention.cuh"
#include "engine/backend/cuda/kernels/embed_norm.cuh"
#include "engine/backend/cuda/kernels/generic_attention.cuh"
#include "engine/backend/cuda/kernels/launchers.h"
#include "engine/backend/cuda/kernels/prefill_attention.cuh"
#include "engine/backend/cuda/kernels/prefill_sm90.cuh"
#include "engine/backend/cuda/kernels/rope_append.cuh"
#include "tests/engine/backend/cuda/kernel_instance.h"
#include "tests/fakes/emulated_launch.h"

namespace reprise::engine::cuda {
namespace {

// As many as make rows be cut, and few enough to be emulated.
constexpr int kEmulatedBlocks = 6;

}  // namespace

cudaError_t LaunchDecodeAttention(const DecodeParams& params, int num_blocks, cudaStream_t stream) {
  if (!HasInstance(params.kv)) return cudaErrorInvalidValue;
  return EnqueueEmulated(stream, DecodeShape(params.kv.head_dim, num_blocks), [params] {
    WithInstance(params.kv, [&]<KvType kType, int kHeadDim>() {
      DecodeAttentionBlock<kType, kHeadDim>(params);
    });
  });
}

cudaError_t DecodeAttentionBlocks(KvType type, int head_dim, int* num_blocks) {
  PagedKv kv;
  kv.type = type;
  kv.head_dim = head_dim;
  *num_blocks = kEmulatedBlocks;
  return HasInstance(kv) ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t LaunchPrefillAttention(const PrefillParams& params, int num_items,
                                   cudaStream_t stream) {
  if (!HasInstance(params.kv)) return cudaErrorInvalidValue;
  return EnqueueEmulated(stream, PrefillShape(params.kv.row_bytes, num_items), [params] {
    WithInstance(params.kv, [&]<KvType kType, int kHeadDim>() {
      PrefillAttentionBlock<kType, kHeadDim>(params);
    });
  });
}

cudaError_t LaunchPrefillSm90(const PrefillParams& params, int64_t arena_bytes, int num_items,
                              cudaStream_t stream) {
  if (!FitsSm90(params.kv)) return cudaErrorInvalidValue;
  const PagedKv& kv = params.kv;
  const TensorMap rows = {reinterpret_cast<const std::byte*>(kv.arena), arena_bytes / kv.row_bytes,
                          kv.head_dim, Sm90BoxRows(kv.block_tokens), kLineElements};
  return EnqueueEmulated(stream, Sm90Shape(kv.head_dim, num_items),
                         [all = PrefillSm90Params{params, rows}] {
                           WithInstance(all.prefill.kv, [&]<KvType kType, int kHeadDim>() {
                             if constexpr (KvFragment<kType>::kIs16Bit) {
                               PrefillSm90Block<kType, kHeadDim>(all);
                             }
                           });
                         });
}

cudaError_t LaunchGenericAttention(const GenericAttentionParams& params, int num_rows,
                                   cudaStream_t stream) {
  if (params.kv.head_dim > kGenericMostDims) return cudaErrorInvalidValue;
  return EnqueueEmulated(stream, GenericAttentionShape(num_rows, params.heads),
                         [params] { GenericAttentionBlock(params); });
}

cudaError_t LaunchEmbed(const EmbedParams& params, int num_rows, cudaStream_t stream) {
  return EnqueueEmulated(stream, RowShape(num_rows), [params] { EmbedBlock(params); });
}

cudaError_t LaunchNorm(const NormParams& params, int num_rows, cudaStream_t stream) {
  if (params.cols % 4 != 0) return cudaErrorInvalidValue;
  return EnqueueEmulated(stream, RowShape(num_rows), [params] { NormBlock(params); });
}

cudaError_t LaunchActivation(const ActivationParams& params, int num_rows, cudaStream_t stream) {
  if (params.cols % 4 != 0) return cudaErrorInvalidValue;
  return EnqueueEmulated(stream, RowShape(num_rows), [params] { ActivationBlock(params); });
}

cudaError_t LaunchRopeAppend(const RopeAppendParams& params, int num_rows, cudaStream_t stream) {
  return EnqueueEmulated(
      stream, RopeAppendShape(num_rows, params.heads, params.kv.kv_heads, params.kv.head_dim),
      [params] { RopeAppendBlock(params); });
}

}  // namespace reprise::engine::cuda
