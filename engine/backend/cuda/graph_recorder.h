// GraphRecorder: runs of launches that a device repeats by one call. A card's are CUDA graphs
// (card/card_graphs.h); tests have one on the host. Used where the backend is.
#pragma once

#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/cuda/kernels/runtime_types.h"

namespace reprise::engine::cuda {

class GraphRecorder {
 public:
  // What was recorded. May go while it runs.
  class Graph {
   public:
    virtual ~Graph() = default;
  };
  using GraphOr = absl::StatusOr<std::unique_ptr<Graph>>;

  virtual ~GraphRecorder() = default;

  // Records what `give` gives to the stream that it is called with, which is no lane of the device:
  // nothing of it runs. `give` reserves no memory and waits for nothing. Changes `old`, where there
  // is one, rather than make a new graph, if they differ in operands alone. Any error: of `give`,
  // or it gave what cannot be recorded; `old` is gone then.
  virtual GraphOr Record(absl::FunctionRef<absl::Status(cudaStream_t)> give,
                         std::unique_ptr<Graph> old) = 0;
  // Gives the compute lane all of `graph`, on what its operands hold by then.
  virtual absl::Status Launch(Graph& graph) = 0;
};

}  // namespace reprise::engine::cuda
