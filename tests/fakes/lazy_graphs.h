// LazyGraphs: a GraphRecorder for a LazyDevice. What is recorded is what launchers made of their
// operands then; launched, it runs when the device gets to it, on what memory holds by then.
#pragma once

#include <memory>
#include <utility>

#include "engine/backend/cuda/graph_recorder.h"
#include "tests/fakes/emulated_stream.h"
#include "tests/fakes/lazy_device.h"

namespace reprise::engine::cuda {

class LazyGraphs : public GraphRecorder {
 public:
  explicit LazyGraphs(cachestore::Device* device) : device_(device) {}

  GraphOr Record(absl::FunctionRef<absl::Status(cudaStream_t)> give,
                 std::unique_ptr<Graph>) override {
    StreamRecording recording;
    if (const absl::Status given = give(recording.stream()); !given.ok()) return given;
    auto graph = std::make_unique<LazyGraph>();
    graph->work = std::move(recording.work());
    return graph;
  }

  absl::Status Launch(Graph& graph) override {
    const auto lane = static_cast<cudaStream_t>(device_->Stream(cachestore::Lane::kCompute));
    for (const auto& kernel : static_cast<LazyGraph&>(graph).work) EnqueueOn(lane, kernel);
    return absl::OkStatus();
  }

 private:
  struct LazyGraph : Graph {
    StreamRecording::Work work;
  };

  cachestore::Device* const device_;
};

}  // namespace reprise::engine::cuda
