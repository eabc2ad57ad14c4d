// WorkTimer: how long work on a stream takes; and which of several ways of doing it takes least.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace reprise::engine::cuda {

class WorkTimer {
 public:
  virtual ~WorkTimer() = default;

  // Seconds of what `give` gives `stream`, behind what it has already. BLOCKS. Errors are of
  // `give`, and of the device.
  virtual absl::StatusOr<double> Seconds(cudaStream_t stream,
                                         absl::FunctionRef<absl::Status()> give) = 0;
};

// By events of the card.
std::unique_ptr<WorkTimer> NewEventTimer();

// The way, of `ways` (> 0), whose median of a few times is the least; the first of equals. All are
// timed in turns, `seconds` says how long one takes (infinity: it cannot be gone). One way alone is
// not timed.
size_t FastestOf(size_t ways, absl::FunctionRef<double(size_t way)> seconds);

}  // namespace reprise::engine::cuda
