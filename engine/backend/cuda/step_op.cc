#include "engine/backend/cuda/step_op.h"

#include "engine/backend/cuda/launch_status.h"

namespace reprise::engine::cuda {
namespace {

struct Giver {
  cudaStream_t stream;
  CudaProducts& products;

  absl::Status operator()(const KernelOp<EmbedParams>& op) const {
    return LaunchStatus(LaunchEmbed(op.params, op.count, stream),
                        op.params.add ? "positions" : "embedding");
  }
  absl::Status operator()(const KernelOp<NormParams>& op) const {
    return LaunchStatus(LaunchNorm(op.params, op.count, stream), "norm");
  }
  absl::Status operator()(const NarrowParams& params) const {
    return LaunchStatus(LaunchNarrow(params, stream), "narrowing");
  }
  absl::Status operator()(const KernelOp<ActivationParams>& op) const {
    return LaunchStatus(LaunchActivation(op.params, op.count, stream), "activation");
  }
  absl::Status operator()(const KernelOp<RopeAppendParams>& op) const {
    return LaunchStatus(LaunchRopeAppend(op.params, op.count, stream), "rotary positions and KV");
  }
  absl::Status operator()(const KernelOp<DecodeParams>& op) const {
    return LaunchStatus(LaunchDecodeAttention(op.params, op.count, stream), "decode attention");
  }
  absl::Status operator()(const KernelOp<PrefillParams>& op) const {
    return LaunchStatus(
        LaunchPrefillAttention(op.params, op.count, stream),
        op.params.row_list != nullptr ? "attention to shared prefixes" : "prefill attention");
  }
  absl::Status operator()(const PrefillSm90Op& op) const {
    return LaunchStatus(LaunchPrefillSm90(op.params, op.arena_bytes, op.count, stream),
                        "prefill attention of compute capability 9.0");
  }
  absl::Status operator()(const KernelOp<MergeStatesParams>& op) const {
    return LaunchStatus(LaunchMergeStates(op.params, op.count, stream), "merging attention");
  }
  absl::Status operator()(const KernelOp<GenericAttentionParams>& op) const {
    return LaunchStatus(LaunchGenericAttention(op.params, op.count, stream), "generic attention");
  }
  absl::Status operator()(const KernelOp<GatherRowsParams>& op) const {
    return LaunchStatus(LaunchGatherRows(op.params, op.count, stream), "picking rows");
  }
  absl::Status operator()(const KernelOp<AddRowsParams>& op) const {
    return LaunchStatus(LaunchAddRows(op.params, op.count, stream), "sum of rows");
  }
  absl::Status operator()(const KernelOp<SoftCapParams>& op) const {
    return LaunchStatus(LaunchSoftCap(op.params, op.count, stream), "soft cap");
  }
  absl::Status operator()(const Product& product) const {
    return products.Multiply(product, stream);
  }
};

}  // namespace

absl::Status GiveTo(cudaStream_t stream, const StepOp& op, CudaProducts& products) {
  return std::visit(Giver{stream, products}, op);
}

}  // namespace reprise::engine::cuda
