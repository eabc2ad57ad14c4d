#include "engine/backend/cuda/step_graphs.h"

#include <algorithm>
#include <utility>

#include "absl/status/statusor.h"

namespace reprise::engine::cuda {

StepGraphs::Entry& StepGraphs::EntryOf(const StepShape& shape) {
  for (Entry& entry : entries_) {
    if (entry.shape == shape) return entry;
  }
  if (entries_.size() == most_) {
    entries_.erase(
        std::min_element(entries_.begin(), entries_.end(),
                         [](const Entry& a, const Entry& b) { return a.last_run < b.last_run; }));
  }
  entries_.push_back({.shape = shape});
  return entries_.back();
}

absl::Status StepGraphs::Run(const StepShape& shape, std::vector<StepOp>& ops, cudaStream_t lane,
                             Give give) {
  Entry& entry = EntryOf(shape);
  entry.last_run = ++num_runs_;
  if (entry.ops != ops) {
    std::swap(entry.ops, ops);
    entry.state = Entry::State::kGivenOnce;
    return give(lane, entry.ops);
  }
  if (entry.state == Entry::State::kGivenOnce) {
    GraphRecorder::GraphOr recorded = recorder_->Record(
        [&](cudaStream_t stream) { return give(stream, entry.ops); }, std::move(entry.graph));
    entry.state = recorded.ok() ? Entry::State::kRecorded : Entry::State::kRefused;
    if (recorded.ok()) entry.graph = *std::move(recorded);
  }
  if (entry.state == Entry::State::kRefused) return give(lane, entry.ops);
  return recorder_->Launch(*entry.graph);
}

}  // namespace reprise::engine::cuda
