#include "engine/backend/attention_plan.h"

#include <algorithm>

#include "cachestore/base/check.h"
#include "engine/backend/kv_format.h"

namespace reprise::engine {
namespace {

// (row, head) pairs of one task: enough that turning a tile of keys around costs little beside
// using it, few enough that their sums stay in a second-level cache.
constexpr int64_t kMaxPairs = 192;
constexpr int64_t kMinPairs = 48;

int64_t WindowOf(const AttentionScheme& scheme) {
  return scheme.window > 0 ? scheme.window : kNoWindow;
}

// Rows a task takes, so that there are about four tasks a thread.
int64_t RowsPerTask(absl::Span<const SequenceRows> sequences, int64_t kv_heads, int64_t group,
                    int num_threads) {
  int64_t rows = 0;
  for (const SequenceRows& sequence : sequences) rows += sequence.num_rows;
  int64_t pairs = kMaxPairs;
  while (pairs > kMinPairs && rows * group * kv_heads / pairs < 4 * num_threads) pairs /= 2;
  return std::max<int64_t>(1, pairs / group);
}

// Head by head, so that a head's keys and values stay in a near cache while its tasks use them; the
// longest task of a head first, so that no thread is left alone with one at the end.
void AppendTasks(Activations q, const SequenceRows& sequence, const cachestore::KvLayout& layout,
                 int32_t layer, const AttentionScheme& scheme, int64_t task_rows, Activations out,
                 std::vector<AttentionTask>* tasks) {
  const int64_t head_dim = layout.head_dim;
  const int64_t group = q.cols / (head_dim * layout.num_kv_heads);
  const int64_t last_row = (sequence.num_rows - 1) / task_rows * task_rows;
  for (int32_t head = 0; head < layout.num_kv_heads; ++head) {
    const int64_t place = head * group * head_dim;
    for (int64_t row = last_row; row >= 0; row -= task_rows) {
      tasks->push_back({q.row(sequence.first_row + row) + place,
                        out.row(sequence.first_row + row) + place, q.cols,
                        std::min(task_rows, sequence.num_rows - row), sequence.start + row, group,
                        head_dim, scheme.scale, layout.dtype,
                        KvRows(sequence.blocks, layout, layer, KvPart::kKeys, head),
                        KvRows(sequence.blocks, layout, layer, KvPart::kValues, head),
                        WindowOf(scheme), scheme.softcap});
    }
  }
}

}  // namespace

AttentionPlan PlanAttention(Activations q, absl::Span<const SequenceRows> sequences,
                            const cachestore::KvLayout& layout, int32_t layer,
                            const AttentionScheme& scheme, int num_threads, Activations out) {
  const int64_t group = q.cols / (layout.head_dim * layout.num_kv_heads);
  CHECK(group > 0 && q.cols == group * layout.num_kv_heads * layout.head_dim);
  CHECK(out.rows == q.rows && out.cols == q.cols);
  CHECK(layout == WithDType(layout, layout.dtype));
  const int64_t task_rows = RowsPerTask(sequences, layout.num_kv_heads, group, num_threads);
  AttentionPlan plan;
  for (const SequenceRows& sequence : sequences) {
    CHECK(sequence.first_row >= 0 && sequence.first_row + sequence.num_rows <= q.rows);
    CHECK(sequence.start + sequence.num_rows <=
          static_cast<int64_t>(sequence.blocks.size()) * layout.block_tokens);
    const int64_t positions = std::min(sequence.start, WindowOf(scheme)) + sequence.num_rows;
    plan.pairs = std::max(plan.pairs, std::min(task_rows, sequence.num_rows) * group);
    plan.work += sequence.num_rows * positions * q.cols;
    AppendTasks(q, sequence, layout, layer, scheme, task_rows, out, &plan.tasks);
  }
  return plan;
}

}  // namespace reprise::engine
