// The launchers of row_moves over the emulation; see emulated_launchers.cc.
#include "engine/backend/cuda/kernels/launchers.h"
#include "engine/backend/cuda/kernels/row_moves.cuh"
#include "tests/fakes/emulated_launch.h"

namespace reprise::engine::cuda {

cudaError_t LaunchGatherRows(const GatherRowsParams& params, int num_rows, cudaStream_t stream) {
  return EnqueueEmulated(stream, MoveShape(num_rows), [params] { GatherRowsBlock(params); });
}

cudaError_t LaunchAddRows(const AddRowsParams& params, int num_rows, cudaStream_t stream) {
  return EnqueueEmulated(stream, MoveShape(num_rows), [params] { AddRowsBlock(params); });
}

cudaError_t LaunchSoftCap(const SoftCapParams& params, int num_rows, cudaStream_t stream) {
  return EnqueueEmulated(stream, MoveShape(num_rows), [params] { SoftCapBlock(params); });
}

}  // namespace reprise::engine::cuda
