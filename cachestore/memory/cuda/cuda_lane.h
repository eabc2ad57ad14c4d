// CudaLane: one lane of a CudaDevice: a stream, and an event for each of its last moments.
//
// Moment n has event n % kNumEvents. An event is recorded again only when the moment it stood for
// has passed, so a moment older than all events has passed, and an event that is waited for while
// it is recorded anew only lets its waiters go later. Thread-safe; never holds its lock while
// it calls another lane.
#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"

namespace reprise::cachestore {

class CudaLane {
 public:
  // kUrgent: its kernels go first, and its waiters spin; kBackground: its waiters sleep.
  enum class Urgency { kUrgent, kBackground };

  static absl::StatusOr<std::unique_ptr<CudaLane>> Create(Urgency urgency);
  // Ends when all work has. BLOCKS.
  ~CudaLane();
  CudaLane(const CudaLane&) = delete;
  CudaLane& operator=(const CudaLane&) = delete;

  // Calls `enqueue` with the stream. Returns its error, or that of earlier work.
  absl::Status Enqueue(absl::FunctionRef<absl::Status(cudaStream_t)> enqueue);
  // For callers that give it work by themselves. From now on each Mark records an event, since
  // nobody tells the lane of that work.
  cudaStream_t Stream();

  // The number of the moment after all work so far.
  uint64_t Mark();
  // Work given to this lane from now on starts after moment `number` of `other`.
  void Await(CudaLane& other, uint64_t number);
  bool HasPassed(uint64_t number);
  // BLOCKS.
  absl::Status Wait(uint64_t number);

 private:
  static constexpr size_t kNumEvents = 1024;

  explicit CudaLane(cudaStream_t stream) : stream_(stream) {}

  cudaEvent_t EventOf(uint64_t number) const { return events_[number % kNumEvents]; }
  // Takes note of what CUDA said about moment `number`; returns whether it has passed.
  bool Note(uint64_t number, cudaError_t said, const char* call) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const cudaStream_t stream_;
  std::array<cudaEvent_t, kNumEvents> events_ = {};  // constant after Create

  absl::Mutex mu_;
  uint64_t marked_ ABSL_GUARDED_BY(mu_) = 0;        // the last moment
  uint64_t passed_ ABSL_GUARDED_BY(mu_) = 0;        // the last one that is known to have passed
  bool has_new_work_ ABSL_GUARDED_BY(mu_) = false;  // since the last moment
  bool is_shared_ ABSL_GUARDED_BY(mu_) = false;     // Stream was called
  absl::Status failure_ ABSL_GUARDED_BY(mu_);       // for good
};

}  // namespace reprise::cachestore
