// What a prefill kernel is given for a PagedBatch, in host memory, poisoned; a plan for it; the
// names of cases.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "engine/backend/cuda/prefill_plan.h"
#include "tests/engine/backend/cuda/paged_batch.h"

namespace reprise::engine::cuda {

inline PrefillPlan PlanOf(const PagedBatch& batch, int num_blocks, const PrefillTiling& tiling) {
  const PagedShape& shape = batch.shape();
  return PlanPrefill(batch.prefill_rows(), shape.kv_heads, shape.heads / shape.kv_heads,
                     batch.window(), num_blocks, tiling);
}

struct PrefillOperands {
  // `batch` and `plan` outlive it.
  PrefillOperands(PagedBatch& batch, const PrefillPlan& plan, const PrefillTiling& tiling)
      : states(plan.num_states * tiling.pairs * (batch.shape().head_dim + 2),
               std::numeric_limits<float>::quiet_NaN()),
        counters(plan.num_counters),
        out(batch.PoisonedOut()) {
    params.q = batch.q().data();
    params.out = out.data();
    params.kv = batch.kv();
    params.items = plan.items.data();
    params.states = states.data();
    params.counters = counters.data();
    params.heads = batch.shape().heads;
    params.window = batch.window();
    params.scale_log2 = batch.scale_log2();
  }
  PrefillOperands(const PrefillOperands&) = delete;
  PrefillOperands& operator=(const PrefillOperands&) = delete;

  // What the kernel has written, when it has ended.
  std::vector<float> Take() {
    EXPECT_THAT(counters, testing::Each(0u)) << "the next launch would merge too early";
    return std::move(out);
  }

  std::vector<float> states;
  std::vector<uint32_t> counters;
  std::vector<float> out;
  PrefillParams params;
};

inline std::string CaseName(const testing::TestParamInfo<PagedShape>& info) {
  std::string name = info.param.Name();
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c == ' ' || c == '/'; }, '_');
  return name;
}

}  // namespace reprise::engine::cuda
