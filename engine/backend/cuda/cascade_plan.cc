#include "engine/backend/cuda/cascade_plan.h"

#include "cachestore/base/check.h"

namespace reprise::engine::cuda {

CascadePlan PlanCascade(absl::Span<const PrefixGroup> groups, absl::Span<const AttentionRow> rows,
                        int kv_heads, int group, int num_blocks) {
  CascadePlan plan;
  plan.prefixes.resize(rows.size());
  std::vector<PrefillRows> prefix_rows;
  for (const PrefixGroup& shared : groups) {
    CHECK(!shared.rows.empty() && shared.positions > 0);
    PrefillRows all;
    all.first_row = static_cast<int32_t>(plan.row_list.size());
    all.num_rows = static_cast<int32_t>(shared.rows.size());
    all.sequence = rows[shared.rows[0]].sequence;
    all.start = shared.positions;  // behind the prefix, so each sees all of it
    all.end = shared.positions;
    prefix_rows.push_back(all);
    for (const int32_t row : shared.rows) {
      CHECK(plan.prefixes[row] == 0 && rows[row].length > shared.positions);
      plan.prefixes[row] = shared.positions;
      plan.row_list.push_back(row);
    }
  }
  plan.prefix_items = PlanPrefill(prefix_rows, kv_heads, group, kNoWindow, num_blocks);
  return plan;
}

}  // namespace reprise::engine::cuda
