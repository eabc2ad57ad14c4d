// Launchers: each enqueues one kernel on `stream` and returns at once. cudaErrorInvalidValue: the
// kernel was not compiled for such operands. Operands lie in the card's memory and stay as they are
// until the stream is past the kernel.
#pragma once

#include "engine/backend/cuda/kernels/decode_params.h"
#include "engine/backend/cuda/kernels/generic_attention_params.h"
#include "engine/backend/cuda/kernels/launch_types.h"
#include "engine/backend/cuda/kernels/merge_states_params.h"
#include "engine/backend/cuda/kernels/prefill_params.h"
#include "engine/backend/cuda/kernels/prefill_sm90_params.h"
#include "engine/backend/cuda/kernels/row_moves_params.h"
#include "engine/backend/cuda/kernels/row_params.h"
#include "engine/backend/cuda/kernels/runtime_types.h"
#include "engine/backend/cuda/kernels/sample_params.h"

namespace reprise::engine::cuda {

cudaError_t LaunchDecodeAttention(const DecodeParams& params, int num_blocks, cudaStream_t stream);
// How many blocks of it run at once on the current card: what a plan is made for.
cudaError_t DecodeAttentionBlocks(KvType type, int head_dim, int* num_blocks);

cudaError_t LaunchPrefillAttention(const PrefillParams& params, int num_items, cudaStream_t stream);
// The same on sm_90a, with a plan for kSm90Tiling, where FitsSm90(params.kv). The blocks lie in
// [kv.arena, + arena_bytes). cudaErrorNoKernelImageForDevice: another card.
cudaError_t LaunchPrefillSm90(const PrefillParams& params, int64_t arena_bytes, int num_items,
                              cudaStream_t stream);

// `num_rows`: of params.rows.
cudaError_t LaunchMergeStates(const MergeStatesParams& params, int num_rows, cudaStream_t stream);

cudaError_t LaunchGenericAttention(const GenericAttentionParams& params, int num_rows,
                                   cudaStream_t stream);

cudaError_t LaunchEmbed(const EmbedParams& params, int num_rows, cudaStream_t stream);
cudaError_t LaunchNorm(const NormParams& params, int num_rows, cudaStream_t stream);
cudaError_t LaunchNarrow(const NarrowParams& params, cudaStream_t stream);
cudaError_t LaunchActivation(const ActivationParams& params, int num_rows, cudaStream_t stream);
cudaError_t LaunchRopeAppend(const RopeAppendParams& params, int num_rows, cudaStream_t stream);

cudaError_t LaunchSample(const SampleParams& params, int num_rows, cudaStream_t stream);

cudaError_t LaunchGatherRows(const GatherRowsParams& params, int num_rows, cudaStream_t stream);
cudaError_t LaunchAddRows(const AddRowsParams& params, int num_rows, cudaStream_t stream);
cudaError_t LaunchSoftCap(const SoftCapParams& params, int num_rows, cudaStream_t stream);

}  // namespace reprise::engine::cuda
