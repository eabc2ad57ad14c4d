#include "bench/gpu/cuda/cuda_attention_work.h"

#include <algorithm>
#include <random>

#include "absl/strings/str_cat.h"
#include "bench/gpu/cuda/device_contents.h"
#include "bench/gpu/cuda/stream_read.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/memory/cuda/cuda_status.h"
#include "engine/backend/cuda/kernels/launchers.h"

namespace reprise::bench {
namespace {

using cachestore::CudaStatus;
using cachestore::Device;
using cachestore::DeviceBytes;
using cachestore::Lane;
using engine::cuda::AttentionRow;
using engine::cuda::GenericAttentionParams;

constexpr size_t kCheckedRows = 64;
constexpr double kMostError =
    1e-2;  // of roundings to bf16, which q and the weights of V go through

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

std::vector<float> RandomQueries(size_t count) {
  std::mt19937 random(2);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> numbers(count);
  for (float& x : numbers) x = uniform(random);
  return numbers;
}

// |actual - expected| / |expected|.
double RelativeError(const std::vector<float>& actual, const std::vector<float>& expected) {
  double difference = 0;
  double size = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference += (double{actual[i]} - expected[i]) * (double{actual[i]} - expected[i]);
    size += double{expected[i]} * expected[i];
  }
  return std::sqrt(difference / size);
}

}  // namespace

absl::StatusOr<AttentionOperands> AttentionOperands::Create(Device& device,
                                                            const AttentionShape& shape,
                                                            const DecodeBatch& batch,
                                                            std::vector<AttentionRow> rows) {
  const size_t floats = rows.size() * shape.heads * shape.head_dim;
  ASSIGN_OR_RETURN(PagedKvSets kv, PagedKvSets::Create(device, shape, batch));
  ASSIGN_OR_RETURN(DeviceBytes q, PutOnDevice(device, RandomQueries(floats)));
  ASSIGN_OR_RETURN(DeviceBytes out, device.Reserve(DeviceSize(floats * sizeof(float))));
  const std::vector<std::byte> poison(4096, std::byte{0xFF});
  RETURN_IF_ERROR(FillDevice(device, out.bytes(), poison));
  return AttentionOperands{shape, std::move(rows), std::move(kv), std::move(q), std::move(out)};
}

cudaStream_t CudaAttentionWork::stream() const {
  return static_cast<cudaStream_t>(device_->Stream(Lane::kCompute));
}

absl::StatusOr<double> CudaAttentionWork::Seconds(int launches) {
  return SecondsOf(launches, [&](size_t set) { return Launch(set, stream()); });
}

absl::StatusOr<double> CudaAttentionWork::ReadSeconds(int launches) {
  return SecondsOf(launches, [&](size_t set) {
    const absl::Span<std::byte> bytes = operands_.kv.bytes(set);
    return LaunchStreamRead(bytes.data(), bytes.size(), operands_.out.bytes().data(), stream());
  });
}

absl::StatusOr<double> CudaAttentionWork::SecondsOf(int launches,
                                                    absl::FunctionRef<cudaError_t(size_t)> launch) {
  ASSIGN_OR_RETURN(const Event begin, Event::Create());
  ASSIGN_OR_RETURN(const Event end, Event::Create());
  // The first is not counted: while it runs, the others are enqueued.
  for (int i = 0; i <= launches; ++i) {
    RETURN_IF_ERROR(CudaStatus(launch(next_set_++ % operands_.kv.size()), "launch"));
    if (i > 0) continue;
    RETURN_IF_ERROR(CudaStatus(cudaEventRecord(begin.get(), stream()), "cudaEventRecord"));
  }
  RETURN_IF_ERROR(CudaStatus(cudaEventRecord(end.get(), stream()), "cudaEventRecord"));
  RETURN_IF_ERROR(device_->Wait(device_->Mark(Lane::kCompute)));
  RETURN_IF_ERROR(CudaStatus(cudaEventSynchronize(end.get()), "cudaEventSynchronize"));
  float milliseconds = 0;
  RETURN_IF_ERROR(CudaStatus(cudaEventElapsedTime(&milliseconds, begin.get(), end.get()),
                             "cudaEventElapsedTime"));
  return milliseconds / 1e3 / launches;
}

absl::Status CudaAttentionWork::Check() {
  const size_t num_rows = std::min(kCheckedRows, operands_.rows.size());
  const size_t row_floats = size_t(operands_.shape.heads) * operands_.shape.head_dim;
  const size_t first = (operands_.rows.size() - num_rows) * row_floats;
  const std::vector<AttentionRow> last(operands_.rows.end() - static_cast<int64_t>(num_rows),
                                       operands_.rows.end());
  ASSIGN_OR_RETURN(const DeviceBytes rows, PutOnDevice(*device_, last));
  ASSIGN_OR_RETURN(const DeviceBytes right,
                   device_->Reserve(DeviceSize(num_rows * row_floats * sizeof(float))));
  RETURN_IF_ERROR(CudaStatus(Launch(0, stream()), "launch"));
  GenericAttentionParams params;
  Describe(0, &params);
  params.q += first;
  params.out = Pointer<float>(right);
  params.rows = Pointer<AttentionRow>(rows);
  RETURN_IF_ERROR(CudaStatus(LaunchGenericAttention(params, static_cast<int>(num_rows), stream()),
                             "generic attention"));
  ASSIGN_OR_RETURN(const std::vector<float> expected,
                   FloatsOnDevice(*device_, params.out, num_rows * row_floats));
  ASSIGN_OR_RETURN(
      const std::vector<float> actual,
      FloatsOnDevice(*device_, Pointer<float>(operands_.out) + first, num_rows * row_floats));
  const double error = RelativeError(actual, expected);
  if (error <= kMostError) return absl::OkStatus();  // NaN is not
  return absl::DataLossError(absl::StrCat("attention on this card is wrong: its last ", num_rows,
                                          " rows differ from the generic kernel's by ", error,
                                          " of their size, at most ", kMostError));
}

}  // namespace reprise::bench
