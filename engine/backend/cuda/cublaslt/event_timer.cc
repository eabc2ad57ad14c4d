#include <memory>

#include "cachestore/base/status_macros.h"
#include "cachestore/memory/cuda/cuda_status.h"
#include "engine/backend/cuda/cublaslt/work_timer.h"

namespace reprise::engine::cuda {
namespace {

using cachestore::CudaStatus;

class Event {
 public:
  ~Event() {
    if (event_ != nullptr) cudaEventDestroy(event_);
  }
  absl::Status Record(cudaStream_t stream) {
    RETURN_IF_ERROR(CudaStatus(cudaEventCreate(&event_), "cudaEventCreate"));
    return CudaStatus(cudaEventRecord(event_, stream), "cudaEventRecord");
  }
  cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

class EventTimer final : public WorkTimer {
 public:
  absl::StatusOr<double> Seconds(cudaStream_t stream,
                                 absl::FunctionRef<absl::Status()> give) override {
    const absl::StatusOr<double> seconds = Timed(stream, give);
    // Else the next launch would report what this one failed of.
    if (!seconds.ok()) cudaGetLastError();
    return seconds;
  }

 private:
  static absl::StatusOr<double> Timed(cudaStream_t stream, absl::FunctionRef<absl::Status()> give) {
    Event begin;
    Event end;
    RETURN_IF_ERROR(begin.Record(stream));
    RETURN_IF_ERROR(give());
    RETURN_IF_ERROR(end.Record(stream));
    RETURN_IF_ERROR(CudaStatus(cudaEventSynchronize(end.get()), "cudaEventSynchronize"));
    float milliseconds = 0;
    RETURN_IF_ERROR(CudaStatus(cudaEventElapsedTime(&milliseconds, begin.get(), end.get()),
                               "cudaEventElapsedTime"));
    return milliseconds / 1e3;
  }
};

}  // namespace

std::unique_ptr<WorkTimer> NewEventTimer() { return std::make_unique<EventTimer>(); }

}  // namespace reprise::engine::cuda
