// StepGraphs: which steps are replayed as graphs. A step is a list of operations (StepOp); one that
// is equal to the last of its shape is the same work, on what its operands hold by now.
//
//     first of its shape, or unlike the last     given as it is: what it needs is loaded and chosen
//     like the last                              recorded, and replayed
//     again                                      replayed
//
// What an operation works on is in the list by its address: memory that moved makes another list,
// and a graph is never replayed for another list than its own. So nothing has to be told when
// memory grows; the shape's graph is changed at the second step after that.
//
// A graph of a shape that was not used for the longest time goes when there are too many.
// Thread-compatible.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "engine/backend/cuda/graph_recorder.h"
#include "engine/backend/cuda/step_op.h"

namespace reprise::engine::cuda {

// What steps whose lists may be equal have in common.
struct StepShape {
  int64_t rows = 0;
  int32_t table_stride = 0;  // of the table of blocks

  friend bool operator==(const StepShape&, const StepShape&) = default;
};

class StepGraphs {
 public:
  // Gives operations to a stream, in order.
  using Give = absl::FunctionRef<absl::Status(cudaStream_t, const std::vector<StepOp>&)>;

  explicit StepGraphs(std::unique_ptr<GraphRecorder> recorder, size_t most = kMostGraphs)
      : recorder_(std::move(recorder)), most_(most) {}

  // Gives the compute lane, whose stream `lane` is, the operations `ops` of a step of `shape`; what
  // `ops` holds afterwards is of no use. A list that cannot be recorded is given as it is from then
  // on. Errors are those of `give`, and of GraphRecorder::Launch.
  absl::Status Run(const StepShape& shape, std::vector<StepOp>& ops, cudaStream_t lane, Give give);

  // Forgets all: what lists name may have become something else at the same address.
  void Forget() { entries_.clear(); }

 private:
  // A graph's nodes lie in the card's memory, a few hundred bytes each.
  static constexpr size_t kMostGraphs = 64;

  struct Entry {
    StepShape shape;
    std::vector<StepOp> ops;  // of the last step
    enum class State { kGivenOnce, kRecorded, kRefused } state = State::kGivenOnce;
    std::unique_ptr<GraphRecorder::Graph> graph;  // of ops where kRecorded, else of older ones
    uint64_t last_run = 0;
  };

  // The shape's entry; a new one, without ops, where there is none.
  Entry& EntryOf(const StepShape& shape);

  const std::unique_ptr<GraphRecorder> recorder_;
  const size_t most_;
  uint64_t num_runs_ = 0;
  std::vector<Entry> entries_;  // few
};

}  // namespace reprise::engine::cuda
