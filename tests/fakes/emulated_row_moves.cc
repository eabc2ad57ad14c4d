// The launchers of row_moves over the emulation; see emulated_launchers.cc.
#include <cstdlib>
#include <functional>
#include <iostream>
#include <utility>

#include "engine/backend/cuda/emulation/thread_block.h"
#include "engine/backend/cuda/kernels/launchers.h"
#include "engine/backend/cuda/kernels/row_moves.cuh"
#include "tests/fakes/lazy_device.h"

namespace reprise::engine::cuda {
namespace {

cudaError_t Enqueue(cudaStream_t stream, int num_rows, std::function<void()> kernel) {
  reinterpret_cast<cachestore::LazyDevice::Queue*>(stream)->Enqueue(
      [shape = MoveShape(num_rows), kernel = std::move(kernel)] {
        const absl::Status status = emulation::Launch(
            {shape.grid_x, shape.grid_y, shape.threads, shape.shared_bytes}, {}, kernel);
        if (!status.ok()) {
          std::cerr << status << std::endl;
          std::abort();
        }
      });
  return cudaSuccess;
}

}  // namespace

cudaError_t LaunchGatherRows(const GatherRowsParams& params, int num_rows, cudaStream_t stream) {
  return Enqueue(stream, num_rows, [params] { GatherRowsBlock(params); });
}

cudaError_t LaunchAddRows(const AddRowsParams& params, int num_rows, cudaStream_t stream) {
  return Enqueue(stream, num_rows, [params] { AddRowsBlock(params); });
}

cudaError_t LaunchSoftCap(const SoftCapParams& params, int num_rows, cudaStream_t stream) {
  return Enqueue(stream, num_rows, [params] { SoftCapBlock(params); });
}

}  // namespace reprise::engine::cuda
