#include "bench/gpu/attention_work.h"

#include <cuda_runtime_api.h>

#include <cmath>
#include <cstring>
#include <random>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "bench/gpu/cuda/device_fill.h"
#include "bench/gpu/cuda/paged_kv_sets.h"
#include "bench/gpu/cuda/stream_read.h"
#include "cachestore/base/status_macros.h"
#include "engine/backend/cuda/decode_plan.h"
#include "engine/backend/cuda/kernels/launchers.h"
#include "engine/backend/cuda/prefill_plan.h"

namespace reprise::bench {
namespace {

using cachestore::Device;
using cachestore::DeviceBytes;
using cachestore::Lane;
using namespace engine::cuda;  // the kernels' words, of which this file is full

absl::Status CudaStatus(cudaError_t error, const char* call) {
  if (error == cudaSuccess) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(call, ": ", cudaGetErrorString(error)));
}

// An event of the card's clock.
class Event {
 public:
  static absl::StatusOr<Event> Create() {
    cudaEvent_t event = nullptr;
    RETURN_IF_ERROR(CudaStatus(cudaEventCreate(&event), "cudaEventCreate"));
    return Event(event);
  }
  Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
  ~Event() {
    if (event_ != nullptr) cudaEventDestroy(event_);
  }
  cudaEvent_t get() const { return event_; }

 private:
  explicit Event(cudaEvent_t event) : event_(event) {}
  cudaEvent_t event_;
};

// Operands of both kernels, and how launches of either are timed.
class CudaAttentionWork : public AttentionWork {
 public:
  absl::StatusOr<double> Seconds(int launches) override {
    return SecondsOf(launches, [&](size_t set) { return Launch(set, stream()); });
  }
  absl::StatusOr<double> ReadSeconds(int launches) override {
    return SecondsOf(launches, [&](size_t set) {
      const absl::Span<std::byte> bytes = sets_.bytes(set);
      return LaunchStreamRead(bytes.data(), bytes.size(), out_.bytes().data(), stream());
    });
  }

 protected:
  // `out` takes as much as `q`.
  CudaAttentionWork(Device* device, PagedKvSets sets, DeviceBytes q, DeviceBytes out)
      : device_(device), sets_(std::move(sets)), q_(std::move(q)), out_(std::move(out)) {}

  // Of the kernel over set `set`.
  virtual cudaError_t Launch(size_t set, cudaStream_t stream) = 0;

  // What both kernels are told.
  template <typename Params>
  void Describe(const AttentionShape& shape, size_t set, Params* params) const {
    params->q = reinterpret_cast<const float*>(q_.bytes().data());
    params->out = reinterpret_cast<float*>(out_.bytes().data());
    params->kv = sets_.kv(set);
    params->heads = shape.heads;
    params->scale_log2 = 1.44269504f / std::sqrt(static_cast<float>(shape.head_dim));
  }
  template <typename T>
  static T* Pointer(const DeviceBytes& bytes) {
    return reinterpret_cast<T*>(bytes.bytes().data());
  }

 private:
  cudaStream_t stream() const { return static_cast<cudaStream_t>(device_->Stream(Lane::kCompute)); }

  absl::StatusOr<double> SecondsOf(int launches, absl::FunctionRef<cudaError_t(size_t)> launch) {
    ASSIGN_OR_RETURN(const Event begin, Event::Create());
    ASSIGN_OR_RETURN(const Event end, Event::Create());
    RETURN_IF_ERROR(CudaStatus(cudaEventRecord(begin.get(), stream()), "cudaEventRecord"));
    for (int i = 0; i < launches; ++i) {
      RETURN_IF_ERROR(CudaStatus(launch(next_set_++ % sets_.size()), "launch"));
    }
    RETURN_IF_ERROR(CudaStatus(cudaEventRecord(end.get(), stream()), "cudaEventRecord"));
    RETURN_IF_ERROR(device_->Wait(device_->Mark(Lane::kCompute)));
    RETURN_IF_ERROR(CudaStatus(cudaEventSynchronize(end.get()), "cudaEventSynchronize"));
    float milliseconds = 0;
    RETURN_IF_ERROR(CudaStatus(cudaEventElapsedTime(&milliseconds, begin.get(), end.get()),
                               "cudaEventElapsedTime"));
    return milliseconds / 1e3 / launches;
  }

  Device* const device_;
  const PagedKvSets sets_;
  const DeviceBytes q_;
  const DeviceBytes out_;
  size_t next_set_ = 0;
};

// What a plan needs on the device beside the operands.
struct PlanMemory {
  DeviceBytes entries;        // DecodeSegment or PrefillItem
  DeviceBytes rows;           // of decode
  DeviceBytes first_segment;  // of decode
  DeviceBytes states;
  DeviceBytes counters;
};

class DecodeWork final : public CudaAttentionWork {
 public:
  DecodeWork(Device* device, PagedKvSets sets, DeviceBytes q, DeviceBytes out,
             const AttentionShape& shape, int num_blocks, PlanMemory plan)
      : CudaAttentionWork(device, std::move(sets), std::move(q), std::move(out)),
        shape_(shape),
        num_blocks_(num_blocks),
        plan_(std::move(plan)) {}

 private:
  cudaError_t Launch(size_t set, cudaStream_t stream) override {
    DecodeParams params;
    Describe(shape_, set, &params);
    params.rows = Pointer<AttentionRow>(plan_.rows);
    params.segments = Pointer<DecodeSegment>(plan_.entries);
    params.first_segment = Pointer<int32_t>(plan_.first_segment);
    params.states = Pointer<float>(plan_.states);
    params.counters = Pointer<uint32_t>(plan_.counters);
    params.head_tiles = HeadTiles(shape_.heads, shape_.kv_heads);
    return LaunchDecodeAttention(params, num_blocks_, stream);
  }

  const AttentionShape shape_;
  const int num_blocks_;
  const PlanMemory plan_;
};

class PrefillWork final : public CudaAttentionWork {
 public:
  PrefillWork(Device* device, PagedKvSets sets, DeviceBytes q, DeviceBytes out,
              const AttentionShape& shape, int num_items, PlanMemory plan)
      : CudaAttentionWork(device, std::move(sets), std::move(q), std::move(out)),
        shape_(shape),
        num_items_(num_items),
        plan_(std::move(plan)) {}

 private:
  cudaError_t Launch(size_t set, cudaStream_t stream) override {
    PrefillParams params;
    Describe(shape_, set, &params);
    params.items = Pointer<PrefillItem>(plan_.entries);
    params.states = Pointer<float>(plan_.states);
    params.counters = Pointer<uint32_t>(plan_.counters);
    return LaunchPrefillAttention(params, num_items_, stream);
  }

  const AttentionShape shape_;
  const int num_items_;
  const PlanMemory plan_;
};

std::vector<float> RandomQueries(size_t count) {
  std::mt19937 random(2);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> numbers(count);
  for (float& x : numbers) x = uniform(random);
  return numbers;
}

AttentionWorkOr OpenDecode(Device* device, const AttentionShape& shape,
                           const std::vector<int32_t>& lengths) {
  std::vector<AttentionRow> rows;
  for (size_t i = 0; i < lengths.size(); ++i) {
    rows.push_back({static_cast<int32_t>(i), lengths[i]});
  }
  int num_blocks = 0;
  RETURN_IF_ERROR(CudaStatus(
      DecodeAttentionBlocks(static_cast<KvType>(shape.dtype), shape.head_dim, &num_blocks),
      "DecodeAttentionBlocks"));
  const int head_tiles = HeadTiles(shape.heads, shape.kv_heads);
  const DecodePlan plan = PlanDecode(rows, head_tiles, kNoWindow, num_blocks);
  ASSIGN_OR_RETURN(PagedKvSets sets, PagedKvSets::Create(*device, shape, lengths));
  const size_t q_floats = rows.size() * shape.heads * shape.head_dim;
  ASSIGN_OR_RETURN(DeviceBytes q, PutOnDevice(*device, RandomQueries(q_floats)));
  ASSIGN_OR_RETURN(DeviceBytes out, device->Reserve(DeviceSize(q_floats * sizeof(float))));
  PlanMemory memory;
  ASSIGN_OR_RETURN(memory.entries, PutOnDevice(*device, plan.segments));
  ASSIGN_OR_RETURN(memory.rows, PutOnDevice(*device, rows));
  ASSIGN_OR_RETURN(memory.first_segment, PutOnDevice(*device, plan.first_segment));
  ASSIGN_OR_RETURN(memory.states,
                   device->Reserve(DeviceSize(plan.num_states * kTileHeads * (shape.head_dim + 2) *
                                              sizeof(float))));
  ASSIGN_OR_RETURN(memory.counters,
                   PutOnDevice(*device, std::vector<uint32_t>(rows.size() * head_tiles)));
  return std::make_unique<DecodeWork>(device, std::move(sets), std::move(q), std::move(out), shape,
                                      num_blocks, std::move(memory));
}

AttentionWorkOr OpenPrefill(Device* device, const AttentionShape& shape, int32_t tokens) {
  int card = 0;
  int processors = 0;
  RETURN_IF_ERROR(CudaStatus(cudaGetDevice(&card), "cudaGetDevice"));
  RETURN_IF_ERROR(
      CudaStatus(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, card),
                 "cudaDeviceGetAttribute"));
  const PrefillPlan plan = PlanPrefill(std::vector<PrefillRows>{{0, tokens, 0, 0}}, shape.kv_heads,
                                       shape.heads / shape.kv_heads, kNoWindow, 2 * processors);
  ASSIGN_OR_RETURN(PagedKvSets sets, PagedKvSets::Create(*device, shape, {tokens}));
  const size_t q_floats = static_cast<size_t>(tokens) * shape.heads * shape.head_dim;
  ASSIGN_OR_RETURN(DeviceBytes q, PutOnDevice(*device, RandomQueries(q_floats)));
  ASSIGN_OR_RETURN(DeviceBytes out, device->Reserve(DeviceSize(q_floats * sizeof(float))));
  PlanMemory memory;
  ASSIGN_OR_RETURN(memory.entries, PutOnDevice(*device, plan.items));
  ASSIGN_OR_RETURN(memory.states,
                   device->Reserve(DeviceSize(plan.num_states * kPrefillPairs *
                                              (shape.head_dim + 2) * sizeof(float))));
  ASSIGN_OR_RETURN(memory.counters, PutOnDevice(*device, std::vector<uint32_t>(plan.num_counters)));
  return std::make_unique<PrefillWork>(device, std::move(sets), std::move(q), std::move(out), shape,
                                       static_cast<int>(plan.items.size()), std::move(memory));
}

}  // namespace

AttentionWorks OurAttentionWorks() { return {OpenDecode, OpenPrefill}; }

}  // namespace reprise::bench
