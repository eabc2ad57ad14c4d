#include "bench/gpu/attention_work.h"

#include "bench/gpu/cuda/cuda_attention_work.h"
#include "bench/gpu/cuda/device_contents.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/memory/cuda/cuda_status.h"
#include "engine/backend/cuda/cascade_plan.h"
#include "engine/backend/cuda/decode_plan.h"
#include "engine/backend/cuda/kernels/launchers.h"
#include "engine/backend/cuda/prefill_plan.h"

namespace reprise::bench {
namespace {

using cachestore::CudaStatus;
using cachestore::Device;
using cachestore::DeviceBytes;
using namespace engine::cuda;  // the kernels' words, of which this file is full

std::vector<AttentionRow> RowsOf(const DecodeBatch& batch) {
  std::vector<AttentionRow> rows;
  for (const int32_t length : batch.lengths) {
    rows.push_back({static_cast<int32_t>(rows.size()), length});
  }
  return rows;
}

absl::StatusOr<DeviceBytes> ReserveFloats(Device& device, int64_t count) {
  return device.Reserve(DeviceSize(static_cast<size_t>(count) * sizeof(float)));
}

// A plan's part on the device, for the decode kernel.
struct DecodeOnDevice {
  static absl::StatusOr<DecodeOnDevice> Create(Device& device, const AttentionShape& shape,
                                               const std::vector<AttentionRow>& rows,
                                               const std::vector<int32_t>& prefixes) {
    DecodeOnDevice decode;
    RETURN_IF_ERROR(CudaStatus(
        DecodeAttentionBlocks(static_cast<KvType>(shape.dtype), shape.head_dim, &decode.num_blocks),
        "DecodeAttentionBlocks"));
    decode.head_tiles = HeadTiles(shape.heads, shape.kv_heads);
    const DecodePlan plan =
        PlanDecode(rows, decode.head_tiles, kNoWindow, decode.num_blocks, prefixes);
    ASSIGN_OR_RETURN(decode.rows, PutOnDevice(device, rows));
    ASSIGN_OR_RETURN(decode.segments, PutOnDevice(device, plan.segments));
    ASSIGN_OR_RETURN(decode.first_segment, PutOnDevice(device, plan.first_segment));
    ASSIGN_OR_RETURN(decode.states,
                     ReserveFloats(device, plan.num_states * kTileHeads * (shape.head_dim + 2)));
    ASSIGN_OR_RETURN(decode.counters,
                     PutOnDevice(device, std::vector<uint32_t>(rows.size() * decode.head_tiles)));
    return decode;
  }

  int num_blocks = 0;
  int head_tiles = 0;
  DeviceBytes rows;
  DeviceBytes segments;
  DeviceBytes first_segment;
  DeviceBytes states;
  DeviceBytes counters;
};

// The same for a prefill kernel.
struct PrefillOnDevice {
  static absl::StatusOr<PrefillOnDevice> Create(Device& device, const AttentionShape& shape,
                                                const PrefillPlan& plan,
                                                const PrefillTiling& tiling) {
    PrefillOnDevice prefill;
    prefill.num_items = static_cast<int>(plan.items.size());
    ASSIGN_OR_RETURN(prefill.items, PutOnDevice(device, plan.items));
    ASSIGN_OR_RETURN(prefill.states,
                     ReserveFloats(device, plan.num_states * tiling.pairs * (shape.head_dim + 2)));
    ASSIGN_OR_RETURN(prefill.counters,
                     PutOnDevice(device, std::vector<uint32_t>(plan.num_counters)));
    return prefill;
  }

  int num_items = 0;
  DeviceBytes items;
  DeviceBytes states;
  DeviceBytes counters;
};

class DecodeWork : public CudaAttentionWork {
 public:
  DecodeWork(Device* device, AttentionOperands operands, DecodeOnDevice plan)
      : CudaAttentionWork(device, std::move(operands)), plan_(std::move(plan)) {}

 protected:
  cudaError_t Launch(size_t set, cudaStream_t stream) override {
    return LaunchDecodeAttention(ParamsOf(set), plan_.num_blocks, stream);
  }

  DecodeParams ParamsOf(size_t set) const {
    DecodeParams params;
    Describe(set, &params);
    params.rows = Pointer<AttentionRow>(plan_.rows);
    params.segments = Pointer<DecodeSegment>(plan_.segments);
    params.first_segment = Pointer<int32_t>(plan_.first_segment);
    params.states = Pointer<float>(plan_.states);
    params.counters = Pointer<uint32_t>(plan_.counters);
    params.head_tiles = plan_.head_tiles;
    return params;
  }
  int num_blocks() const { return plan_.num_blocks; }

 private:
  const DecodeOnDevice plan_;
};

class PrefillWork final : public CudaAttentionWork {
 public:
  PrefillWork(Device* device, AttentionOperands operands, PrefillOnDevice plan,
              PrefillKernel kernel)
      : CudaAttentionWork(device, std::move(operands)), plan_(std::move(plan)), kernel_(kernel) {}

 private:
  cudaError_t Launch(size_t set, cudaStream_t stream) override {
    PrefillParams params;
    Describe(set, &params);
    params.items = Pointer<PrefillItem>(plan_.items);
    params.states = Pointer<float>(plan_.states);
    params.counters = Pointer<uint32_t>(plan_.counters);
    if (kernel_ == PrefillKernel::kMmaSync) {
      return LaunchPrefillAttention(params, plan_.num_items, stream);
    }
    const auto bytes = static_cast<int64_t>(operands().kv.bytes(set).size());
    return LaunchPrefillSm90(params, bytes, plan_.num_items, stream);
  }

  const PrefillOnDevice plan_;
  const PrefillKernel kernel_;
};

// The three launches of cascade_plan.h.
class CascadeWork final : public DecodeWork {
 public:
  // `row_states`: [kCascadeParts][rows][heads][head_dim + 2].
  CascadeWork(Device* device, AttentionOperands operands, DecodeOnDevice decode,
              PrefillOnDevice prefix, DeviceBytes prefixes, DeviceBytes row_list, int num_listed,
              DeviceBytes row_states)
      : DecodeWork(device, std::move(operands), std::move(decode)),
        prefix_(std::move(prefix)),
        prefixes_(std::move(prefixes)),
        row_list_(std::move(row_list)),
        num_listed_(num_listed),
        row_states_(std::move(row_states)) {}

 private:
  cudaError_t Launch(size_t set, cudaStream_t stream) override {
    const AttentionShape& shape = operands().shape;
    const auto part_stride =
        static_cast<int64_t>(operands().rows.size()) * shape.heads * (shape.head_dim + 2);
    PrefillParams prefix;
    Describe(set, &prefix);
    prefix.items = Pointer<PrefillItem>(prefix_.items);
    prefix.states = Pointer<float>(prefix_.states);
    prefix.counters = Pointer<uint32_t>(prefix_.counters);
    prefix.row_list = Pointer<int32_t>(row_list_);
    prefix.row_states = Pointer<float>(row_states_);
    cudaError_t error = LaunchPrefillAttention(prefix, prefix_.num_items, stream);
    if (error != cudaSuccess) return error;
    DecodeParams decode = ParamsOf(set);
    decode.prefixes = Pointer<int32_t>(prefixes_);
    decode.row_states = Pointer<float>(row_states_) + part_stride;
    error = LaunchDecodeAttention(decode, num_blocks(), stream);
    if (error != cudaSuccess) return error;
    MergeStatesParams merge;
    merge.states = Pointer<float>(row_states_);
    merge.part_stride = part_stride;
    merge.parts = kCascadeParts;
    merge.rows = Pointer<int32_t>(row_list_);
    merge.out = Pointer<float>(operands().out);
    merge.heads = shape.heads;
    merge.head_dim = shape.head_dim;
    return LaunchMergeStates(merge, num_listed_, stream);
  }

  const PrefillOnDevice prefix_;
  const DeviceBytes prefixes_;
  const DeviceBytes row_list_;
  const int num_listed_;
  const DeviceBytes row_states_;
};

absl::StatusOr<int> NumProcessors() {
  int card = 0;
  int processors = 0;
  RETURN_IF_ERROR(CudaStatus(cudaGetDevice(&card), "cudaGetDevice"));
  RETURN_IF_ERROR(
      CudaStatus(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, card),
                 "cudaDeviceGetAttribute"));
  return processors;
}

AttentionWorkOr Checked(std::unique_ptr<CudaAttentionWork> work) {
  RETURN_IF_ERROR(work->Check());
  return work;
}

AttentionWorkOr OpenDecode(Device* device, const AttentionShape& shape, const DecodeBatch& batch) {
  ASSIGN_OR_RETURN(AttentionOperands operands,
                   AttentionOperands::Create(*device, shape, batch, RowsOf(batch)));
  ASSIGN_OR_RETURN(DecodeOnDevice plan, DecodeOnDevice::Create(*device, shape, operands.rows, {}));
  return Checked(std::make_unique<DecodeWork>(device, std::move(operands), std::move(plan)));
}

AttentionWorkOr OpenCascade(Device* device, const AttentionShape& shape, const DecodeBatch& batch) {
  ASSIGN_OR_RETURN(AttentionOperands operands,
                   AttentionOperands::Create(*device, shape, batch, RowsOf(batch)));
  ASSIGN_OR_RETURN(const int processors, NumProcessors());
  const std::vector<PrefixGroup> groups =
      FindPrefixGroups(operands.rows, operands.kv.table().data(), operands.kv.kv(0).table_stride,
                       shape.block_tokens);
  if (groups.empty()) return absl::InvalidArgumentError("no rows of the batch share a prefix");
  const CascadePlan plan = PlanCascade(groups, operands.rows, shape.kv_heads,
                                       shape.heads / shape.kv_heads, 2 * processors);
  ASSIGN_OR_RETURN(DecodeOnDevice decode,
                   DecodeOnDevice::Create(*device, shape, operands.rows, plan.prefixes));
  ASSIGN_OR_RETURN(PrefillOnDevice prefix,
                   PrefillOnDevice::Create(*device, shape, plan.prefix_items, kPrefillTiling));
  ASSIGN_OR_RETURN(DeviceBytes prefixes, PutOnDevice(*device, plan.prefixes));
  ASSIGN_OR_RETURN(DeviceBytes row_list, PutOnDevice(*device, plan.row_list));
  ASSIGN_OR_RETURN(DeviceBytes row_states,
                   ReserveFloats(*device, int64_t{kCascadeParts} * std::ssize(operands.rows) *
                                              shape.heads * (shape.head_dim + 2)));
  return Checked(std::make_unique<CascadeWork>(
      device, std::move(operands), std::move(decode), std::move(prefix), std::move(prefixes),
      std::move(row_list), static_cast<int>(plan.row_list.size()), std::move(row_states)));
}

AttentionWorkOr OpenPrefill(Device* device, const AttentionShape& shape, int32_t tokens,
                            PrefillKernel kernel) {
  ASSIGN_OR_RETURN(const int processors, NumProcessors());
  const bool is_hopper = kernel == PrefillKernel::kHopper;
  const PrefillTiling& tiling = is_hopper ? kSm90Tiling : kPrefillTiling;
  const PrefillRows all = {0, tokens, 0, 0};
  const PrefillPlan plan =
      PlanPrefill(absl::MakeConstSpan(&all, 1), shape.kv_heads, shape.heads / shape.kv_heads,
                  kNoWindow, is_hopper ? processors : 2 * processors, tiling);
  std::vector<AttentionRow> rows;
  for (int32_t row = 0; row < tokens; ++row) rows.push_back({0, row + 1});
  ASSIGN_OR_RETURN(AttentionOperands operands,
                   AttentionOperands::Create(*device, shape, {{tokens}}, std::move(rows)));
  ASSIGN_OR_RETURN(PrefillOnDevice prefill, PrefillOnDevice::Create(*device, shape, plan, tiling));
  return Checked(
      std::make_unique<PrefillWork>(device, std::move(operands), std::move(prefill), kernel));
}

}  // namespace

AttentionWorks OurAttentionWorks() { return {OpenDecode, OpenCascade, OpenPrefill}; }

}  // namespace reprise::bench
