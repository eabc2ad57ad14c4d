// StepLaunches: the way of a backend's operations to the compute lane: each at once, or those of a
// decode step together when it ends, as a graph where StepGraphs has one. Thread-compatible.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "cachestore/memory/device.h"
#include "engine/backend/cuda/cuda_products.h"
#include "engine/backend/cuda/graph_recorder.h"
#include "engine/backend/cuda/step_graphs.h"
#include "engine/backend/cuda/step_op.h"

namespace reprise::engine::cuda {

class StepLaunches {
 public:
  // Both outlive it. Without `recorder` everything is given at once.
  StepLaunches(cachestore::Device* device, CudaProducts* products,
               std::unique_ptr<GraphRecorder> recorder);

  // Begins a step, and forgets what an earlier one holds back. With `shape` its operations are held
  // back until End; the memory that they work on must not move before. Without, and outside of
  // steps, they are given at once.
  void Begin(std::optional<StepShape> shape);
  // The operation that comes next. Errors are of giving it, and of those before it.
  absl::Status Give(StepOp op);
  // Gives what is held back, and all that comes at once, until the next Begin: before memory moves
  // or the host reads, and where operations will not be the same again. Errors as Give's.
  absl::Status GiveAll();
  absl::Status End();

  // Before a weight comes or goes: lists of operations know weights by their addresses.
  void ForgetGraphs();

 private:
  cudaStream_t lane();
  absl::Status GiveOps(cudaStream_t stream, const std::vector<StepOp>& ops);

  cachestore::Device* const device_;
  CudaProducts* const products_;
  std::optional<StepGraphs> graphs_;
  std::optional<StepShape> shape_;  // of the step whose operations are held back
  std::vector<StepOp> held_;
};

}  // namespace reprise::engine::cuda
