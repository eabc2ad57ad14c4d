// CascadePlan: decode rows that share a prefix (prefix_groups.h) read it once. Three launches:
//
//     prefill kernel   all rows of a group over its prefix, as rows that come after it
//                                                        -> states of part 0
//     decode kernel    every row over what is behind its prefix
//                                  -> outputs of rows in no group, states of part 1 of the others
//     merge kernel     both parts of the rows of groups  -> outputs
//
// A row's bits then depend on who else is in the batch: not for deterministic mode. Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "engine/backend/cuda/kernels/launch_types.h"
#include "engine/backend/cuda/prefill_plan.h"
#include "engine/backend/cuda/prefix_groups.h"

namespace reprise::engine::cuda {

inline constexpr int kCascadeParts = 2;

struct CascadePlan {
  std::vector<int32_t> prefixes;  // of each row of the batch; 0: it is in no group
  std::vector<int32_t> row_list;  // the rows of groups, group after group
  PrefillPlan prefix_items;       // their rows count in row_list
};

// `rows`: the batch that `groups` was found in. `num_blocks`: of the prefill kernel that run at
// once. REQUIRES: no window.
CascadePlan PlanCascade(absl::Span<const PrefixGroup> groups, absl::Span<const AttentionRow> rows,
                        int kv_heads, int group, int num_blocks);

}  // namespace reprise::engine::cuda
