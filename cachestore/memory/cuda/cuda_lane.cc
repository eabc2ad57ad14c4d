#include "cachestore/memory/cuda/cuda_lane.h"

#include <algorithm>

#include "cachestore/base/check.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/memory/cuda/cuda_status.h"

namespace reprise::cachestore {

absl::StatusOr<std::unique_ptr<CudaLane>> CudaLane::Create(Urgency urgency) {
  int lowest = 0;
  int highest = 0;
  RETURN_IF_ERROR(CudaStatus(cudaDeviceGetStreamPriorityRange(&lowest, &highest),
                             "cudaDeviceGetStreamPriorityRange"));
  cudaStream_t stream = nullptr;
  const int priority = urgency == Urgency::kUrgent ? highest : lowest;
  RETURN_IF_ERROR(CudaStatus(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, priority),
                             "cudaStreamCreateWithPriority"));
  std::unique_ptr<CudaLane> lane(new CudaLane(stream));
  const unsigned flags =
      cudaEventDisableTiming | (urgency == Urgency::kUrgent ? 0u : unsigned{cudaEventBlockingSync});
  for (cudaEvent_t& event : lane->events_) {
    RETURN_IF_ERROR(CudaStatus(cudaEventCreateWithFlags(&event, flags), "cudaEventCreate"));
  }
  return lane;
}

CudaLane::~CudaLane() {
  cudaStreamSynchronize(stream_);
  for (const cudaEvent_t event : events_) {
    if (event != nullptr) cudaEventDestroy(event);
  }
  cudaStreamDestroy(stream_);
}

absl::Status CudaLane::Enqueue(absl::FunctionRef<absl::Status(cudaStream_t)> enqueue) {
  absl::MutexLock lock(&mu_);
  RETURN_IF_ERROR(failure_);
  has_new_work_ = true;  // also when only a part of it could be enqueued
  return enqueue(stream_);
}

cudaStream_t CudaLane::Stream() {
  absl::MutexLock lock(&mu_);
  is_shared_ = true;
  return stream_;
}

uint64_t CudaLane::Mark() {
  absl::MutexLock lock(&mu_);
  if (!has_new_work_ && !is_shared_) return marked_;
  const uint64_t number = ++marked_;
  has_new_work_ = false;
  if (!failure_.ok()) return number;  // which never passes
  if (number > kNumEvents && passed_ < number - kNumEvents) {
    Note(number - kNumEvents, cudaEventSynchronize(EventOf(number)), "cudaEventSynchronize");
  }
  failure_.Update(CudaStatus(cudaEventRecord(EventOf(number), stream_), "cudaEventRecord"));
  return number;
}

void CudaLane::Await(CudaLane& other, uint64_t number) {
  absl::Status status;
  {
    absl::MutexLock lock(&other.mu_);
    CHECK(number <= other.marked_);
    if (number <= other.passed_ || &other == this) return;
    status = other.failure_;
    if (status.ok()) {
      // A later moment in the same event would only hold this lane back longer.
      status =
          CudaStatus(cudaStreamWaitEvent(stream_, other.EventOf(number), 0), "cudaStreamWaitEvent");
    }
  }
  absl::MutexLock lock(&mu_);
  has_new_work_ = true;
  failure_.Update(status);
}

bool CudaLane::HasPassed(uint64_t number) {
  absl::MutexLock lock(&mu_);
  CHECK(number <= marked_);
  if (number <= passed_ || !failure_.ok()) return number <= passed_;
  const cudaError_t said = cudaEventQuery(EventOf(number));
  if (said == cudaErrorNotReady) {
    cudaGetLastError();  // the next launch of this thread would return it
    return false;
  }
  return Note(number, said, "cudaEventQuery");
}

absl::Status CudaLane::Wait(uint64_t number) {
  {
    absl::MutexLock lock(&mu_);
    CHECK(number <= marked_);
    if (number <= passed_) return absl::OkStatus();
    RETURN_IF_ERROR(failure_);
  }
  const cudaError_t said = cudaEventSynchronize(EventOf(number));
  absl::MutexLock lock(&mu_);
  return Note(number, said, "cudaEventSynchronize") ? absl::OkStatus() : failure_;
}

bool CudaLane::Note(uint64_t number, cudaError_t said, const char* call) {
  if (said == cudaSuccess) {
    passed_ = std::max(passed_, number);
    return true;
  }
  failure_.Update(CudaStatus(said, call));
  return false;
}

}  // namespace reprise::cachestore
