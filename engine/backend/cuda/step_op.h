// StepOp: one launch of a step as data: it can be given to a stream now or later, again and again,
// and be held against that of another step. Two that are equal are the same work on what their
// operands hold by then.
#pragma once

#include <cstdint>
#include <variant>

#include "absl/status/status.h"
#include "engine/backend/cuda/cuda_products.h"
#include "engine/backend/cuda/kernels/launchers.h"

namespace reprise::engine::cuda {

// A kernel, by what its launcher is told: its operands, and how many rows, items or blocks.
template <typename Params>
struct KernelOp {
  Params params;
  int count = 0;

  friend bool operator==(const KernelOp&, const KernelOp&) = default;
};

// Prefill attention of sm_90a.
struct PrefillSm90Op {
  PrefillParams params;
  int64_t arena_bytes = 0;
  int count = 0;

  friend bool operator==(const PrefillSm90Op&, const PrefillSm90Op&) = default;
};

using StepOp =
    std::variant<KernelOp<EmbedParams>, KernelOp<NormParams>, NarrowParams,
                 KernelOp<ActivationParams>, KernelOp<RopeAppendParams>, KernelOp<DecodeParams>,
                 KernelOp<PrefillParams>, PrefillSm90Op, KernelOp<MergeStatesParams>,
                 KernelOp<GenericAttentionParams>, KernelOp<GatherRowsParams>,
                 KernelOp<AddRowsParams>, KernelOp<SoftCapParams>, Product>;

// Gives `stream` the work; products are those of `products`. Errors are of giving it alone, and
// name the kernel.
absl::Status GiveTo(cudaStream_t stream, const StepOp& op, CudaProducts& products);

}  // namespace reprise::engine::cuda
