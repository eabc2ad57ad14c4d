// EnqueueOn: gives work that stands for a kernel to a stream: a queue of LazyDevice, or a recording
// of LazyGraphs, which stands for a stream that is captured.
#pragma once

#include <functional>
#include <utility>
#include <vector>

#include "engine/backend/cuda/kernels/runtime_types.h"
#include "tests/fakes/lazy_device.h"

namespace reprise::engine::cuda {

// What was given to its stream while it lives; one on a thread at a time.
class StreamRecording {
 public:
  using Work = std::vector<std::function<void()>>;

  StreamRecording() {
    CHECK(current_ == nullptr);
    current_ = this;
  }
  ~StreamRecording() { current_ = nullptr; }

  cudaStream_t stream() { return reinterpret_cast<cudaStream_t>(this); }
  Work& work() { return work_; }

  // The recording whose stream it is; null: it is a device's.
  static StreamRecording* Of(cudaStream_t stream) {
    return current_ != nullptr && current_->stream() == stream ? current_ : nullptr;
  }

 private:
  static inline constinit thread_local StreamRecording* current_ = nullptr;

  Work work_;
};

inline void EnqueueOn(cudaStream_t stream, std::function<void()> work) {
  if (StreamRecording* const recording = StreamRecording::Of(stream)) {
    recording->work().push_back(std::move(work));
    return;
  }
  reinterpret_cast<cachestore::LazyDevice::Queue*>(stream)->Enqueue(std::move(work));
}

}  // namespace reprise::engine::cuda
