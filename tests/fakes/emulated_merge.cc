// The launcher of the merge kernel over the emulation; see emulated_launchers.cc.
#include "engine/backend/cuda/kernels/launchers.h"
#include "engine/backend/cuda/kernels/merge_states.cuh"
#include "tests/fakes/emulated_launch.h"

namespace reprise::engine::cuda {

cudaError_t LaunchMergeStates(const MergeStatesParams& params, int num_rows, cudaStream_t stream) {
  return EnqueueEmulated(stream, MergeStatesShape(num_rows, params.heads),
                         [params] { MergeStatesBlock(params); });
}

}  // namespace reprise::engine::cuda
