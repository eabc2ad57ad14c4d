#include "engine/backend/cpu_attention.h"

#include "engine/backend/attention_plan.h"
#include "engine/backend/attention_range.h"
#include "engine/backend/attention_task.h"
#include "engine/backend/cpu_parallel.h"

namespace reprise::engine {
namespace {

// Runs a plan on all threads, each with its buffers.
class PlanRunner {
 public:
  PlanRunner(const AttentionPlan& plan, int64_t head_dim, AttentionScratch* scratch)
      : plan_(plan), padded_(PaddedHeadDim(head_dim)), scratch_(*scratch) {
    if (static_cast<int>(scratch_.threads.size()) < omp_get_max_threads()) {
      scratch_.threads.resize(omp_get_max_threads());
    }
  }

  void RunWhole() const {
    ForEach(static_cast<int64_t>(plan_.tasks.size()),
            [&](int64_t item, const AttentionBuffers& buffers) {
              AttendTask(plan_.tasks[item], buffers);
            });
  }

  // By ranges, for tasks that are fewer than the threads.
  void RunInParts() const {
    std::vector<Part> parts;
    for (const AttentionTask& task : plan_.tasks) {
      for (int64_t begin = task.first_range(); begin < task.end(); begin += kAttentionRange) {
        parts.push_back({&task, begin});
      }
    }
    const std::vector<AttentionState> states = PlaceStates(static_cast<int64_t>(parts.size()));
    ForEach(static_cast<int64_t>(parts.size()), [&](int64_t item, const AttentionBuffers& buffers) {
      AttendTaskRange(*parts[item].task, buffers, parts[item].begin, states[item]);
    });
    absl::Span<const AttentionState> rest = states;
    for (const AttentionTask& task : plan_.tasks) {
      const int64_t positions = task.end() - task.first_range();
      const int64_t count = (positions + kAttentionRange - 1) / kAttentionRange;
      MergeTaskRanges(task, rest.first(count));
      rest.remove_prefix(count);
    }
  }

 private:
  struct Part {
    const AttentionTask* task;
    int64_t begin;
  };

  std::vector<AttentionState> PlaceStates(int64_t count) const {
    const int64_t floats = AttentionState::Floats(plan_.pairs, padded_);
    const size_t needed = count * floats + 16;
    if (scratch_.parts.size() < needed) scratch_.parts.resize(needed);
    float* const base = AlignUp(scratch_.parts.data());
    std::vector<AttentionState> states;
    for (int64_t i = 0; i < count; ++i) {
      states.emplace_back(base + i * floats, plan_.pairs, padded_);
    }
    return states;
  }

  template <typename Fn>
  void ForEach(int64_t count, const Fn& fn) const {
    const int64_t work_per_item = count == 0 ? 0 : plan_.work / count;
    ParallelItems(count, work_per_item, 1 << 16, [&](int thread, int64_t item) {
      std::vector<float>& floats = scratch_.threads[thread];
      const size_t needed = AttentionBuffers::Floats(plan_.pairs, padded_);
      if (floats.size() < needed) floats.resize(needed);
      fn(item, AttentionBuffers(floats.data(), plan_.pairs, padded_));
    });
  }

  const AttentionPlan& plan_;
  const int64_t padded_;
  AttentionScratch& scratch_;
};

}  // namespace

void AttendRows(Activations q, absl::Span<const SequenceRows> sequences,
                const cachestore::KvLayout& layout, int32_t layer, const AttentionScheme& scheme,
                AttentionScratch* scratch, Activations out) {
  const AttentionPlan plan =
      PlanAttention(q, sequences, layout, layer, scheme, omp_get_max_threads(), out);
  const PlanRunner runner(plan, layout.head_dim, scratch);
  if (static_cast<int>(plan.tasks.size()) < omp_get_max_threads()) {
    runner.RunInParts();
  } else {
    runner.RunWhole();
  }
}

}  // namespace reprise::engine
