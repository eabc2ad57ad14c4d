// The launcher of prefill on sm_90a over the emulation; see emulated_launchers.cc.
#include "engine/backend/cuda/kernels/launchers.h"
#include "engine/backend/cuda/kernels/prefill_sm90.cuh"
#include "tests/fakes/emulated_launch.h"

namespace reprise::engine::cuda {
namespace {

template <KvType kType>
void RunSm90Block(const PrefillSm90Params& params) {
  params.prefill.kv.head_dim == 64 ? PrefillSm90Block<kType, 64>(params)
                                   : PrefillSm90Block<kType, 128>(params);
}

}  // namespace

cudaError_t LaunchPrefillSm90(const PrefillParams& params, int64_t arena_bytes, int num_items,
                              cudaStream_t stream) {
  if (!FitsSm90(params.kv)) return cudaErrorInvalidValue;
  PrefillSm90Params all;
  all.prefill = params;
  all.rows = {reinterpret_cast<const std::byte*>(params.kv.arena),
              arena_bytes / params.kv.row_bytes, params.kv.head_dim,
              Sm90BoxRows(params.kv.block_tokens), kLineElements};
  return EnqueueEmulated(stream, Sm90Shape(params.kv.head_dim, num_items), [all] {
    all.prefill.kv.type == KvType::kBF16 ? RunSm90Block<KvType::kBF16>(all)
                                         : RunSm90Block<KvType::kF16>(all);
  });
}

}  // namespace reprise::engine::cuda
