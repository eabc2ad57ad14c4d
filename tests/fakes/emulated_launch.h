// What launchers over the emulation have in common; see emulated_launchers.cc.
#pragma once

#include <cstdlib>
#include <functional>
#include <iostream>
#include <utility>

#include "engine/backend/cuda/emulation/thread_block.h"
#include "engine/backend/cuda/kernels/launchers.h"
#include "tests/fakes/emulated_stream.h"

namespace reprise::engine::cuda {

// Gives `stream` a kernel (EnqueueOn). One that breaks a rule of the hardware ends the
// process with the cause.
inline cudaError_t EnqueueEmulated(cudaStream_t stream, const LaunchShape& shape,
                                   std::function<void()> kernel) {
  EnqueueOn(stream, [shape, kernel = std::move(kernel)] {
    const absl::Status status = emulation::Launch(
        {shape.grid_x, shape.grid_y, shape.threads, shape.shared_bytes}, {}, kernel);
    if (!status.ok()) {
      std::cerr << status << std::endl;
      std::abort();
    }
  });
  return cudaSuccess;
}

}  // namespace reprise::engine::cuda
