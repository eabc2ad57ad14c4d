#include "engine/backend/cuda/kernels/launchers.h"
#include "engine/backend/cuda/kernels/row_moves.cuh"

namespace reprise::engine::cuda {
namespace {

__global__ void __launch_bounds__(kMoveThreads)
    GatherRowsKernel(const __grid_constant__ GatherRowsParams params) {
  GatherRowsBlock(params);
}

__global__ void __launch_bounds__(kMoveThreads)
    AddRowsKernel(const __grid_constant__ AddRowsParams params) {
  AddRowsBlock(params);
}

__global__ void __launch_bounds__(kMoveThreads)
    SoftCapKernel(const __grid_constant__ SoftCapParams params) {
  SoftCapBlock(params);
}

}  // namespace

cudaError_t LaunchGatherRows(const GatherRowsParams& params, int num_rows, cudaStream_t stream) {
  const LaunchShape shape = MoveShape(num_rows);
  GatherRowsKernel<<<shape.grid_x, shape.threads, 0, stream>>>(params);
  return cudaGetLastError();
}

cudaError_t LaunchAddRows(const AddRowsParams& params, int num_rows, cudaStream_t stream) {
  const LaunchShape shape = MoveShape(num_rows);
  AddRowsKernel<<<shape.grid_x, shape.threads, 0, stream>>>(params);
  return cudaGetLastError();
}

cudaError_t LaunchSoftCap(const SoftCapParams& params, int num_rows, cudaStream_t stream) {
  const LaunchShape shape = MoveShape(num_rows);
  SoftCapKernel<<<shape.grid_x, shape.threads, 0, stream>>>(params);
  return cudaGetLastError();
}

}  // namespace reprise::engine::cuda
