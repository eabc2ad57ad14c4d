#include "engine/backend/cuda/kernels/prefill_attention.cuh"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "engine/backend/cuda/prefill_plan.h"
#include "tests/engine/backend/cuda/kernel_instance.h"
#include "tests/engine/backend/cuda/paged_batch.h"
#include "tests/engine/backend/cuda/prefill_operands.h"
#include "tests/engine/backend/cuda/schedules.h"

namespace reprise::engine::cuda {
namespace {

using cachestore::DType;
using emulation::Launch;
using emulation::Schedule;

std::vector<float> Prefill(PagedBatch& batch, const PrefillPlan& plan, const Schedule& schedule) {
  PrefillOperands operands(batch, plan, kPrefillTiling);
  const PrefillParams& params = operands.params;
  const LaunchShape launch = PrefillShape(params.kv.row_bytes, static_cast<int>(plan.items.size()));
  const absl::Status status =
      Launch({launch.grid_x, launch.grid_y, launch.threads, launch.shared_bytes}, schedule, [&] {
        WithInstance(params.kv, [&]<KvType kType, int kHeadDim>() {
          PrefillAttentionBlock<kType, kHeadDim>(params);
        });
      });
  EXPECT_TRUE(status.ok()) << status;
  return operands.Take();
}

class PrefillAttentionTest : public testing::TestWithParam<PagedShape> {};

// Chunks that begin and end off every tile; rows that see 1 position, a whole tile, one more; with
// a window of 10 rows that see nothing of an item's first tile.
TEST_P(PrefillAttentionTest, AgreesWithTheCpuBackend) {
  PagedBatch batch(GetParam(), {{0, 17}, {50, 25}, {63, 2}, {130, 1}});
  const PrefillPlan plan = PlanOf(batch, 1, kPrefillTiling);
  const auto outputs = OnSchedules<float>(
      FewSchedules(), [&](const Schedule& schedule) { return Prefill(batch, plan, schedule); });
  EXPECT_TRUE(AreSame(outputs));
  EXPECT_LE(batch.WorstError(outputs[0]), batch.tolerance());
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, PrefillAttentionTest,
    testing::Values(PagedShape{4, 1, 64, 16, DType::kBF16}, PagedShape{7, 1, 128, 16, DType::kBF16},
                    PagedShape{3, 3, 64, 8, DType::kF16}, PagedShape{16, 1, 128, 64, DType::kF16},
                    PagedShape{2, 1, 64, 16, DType::kF8E4M3},
                    PagedShape{8, 2, 128, 32, DType::kF8E4M3},
                    PagedShape{4, 1, 64, 16, DType::kInt8}, PagedShape{3, 1, 128, 8, DType::kInt8},
                    PagedShape{4, 2, 64, 16, DType::kBF16, 10},
                    PagedShape{2, 1, 128, 8, DType::kInt8, 64}),
    CaseName);

// Tiles are counted from position 0: as long as positions are not cut into pieces, a row has the
// same bits whatever rows are computed with it.
TEST(PrefillAttentionTest, RowsHaveTheSameBitsHoweverTheyAreChunked) {
  for (const int window : {0, 10}) {
    PagedBatch batch({2, 1, 64, 16, DType::kBF16, window}, {{0, 100}});
    const auto run = [&](const std::vector<PrefillRows>& chunks) {
      return Prefill(batch, PlanPrefill(chunks, 1, 2, batch.window(), 1), {});
    };
    EXPECT_EQ(run({{0, 100, 0, 0}}), run({{0, 1, 0, 0}, {1, 36, 0, 1}, {37, 63, 0, 37}}));
  }
}

// Errors of 8-bit KV do not grow with the context.
TEST(PrefillAttentionTest, EightBitKvIsAsExactOverLongContexts) {
  for (const DType dtype : {DType::kF8E4M3, DType::kInt8}) {
    PagedBatch batch({2, 1, 128, 16, dtype}, {{2990, 13}, {1, 2}});
    const PrefillPlan plan = PlanOf(batch, 8, kPrefillTiling);
    ASSERT_EQ(plan.items[0].pieces, 4);
    EXPECT_LE(batch.WorstError(Prefill(batch, plan, {})), batch.tolerance());
  }
}

TEST(PrefillAttentionTest, PiecesOfLongRowsMerge) {
  PagedBatch batch({2, 1, 64, 16, DType::kF16}, {{1020, 9}});
  const PrefillPlan plan = PlanOf(batch, 2, kPrefillTiling);
  ASSERT_EQ(plan.items.size(), 2u);
  ASSERT_EQ(plan.items[0].pieces, 2);
  for (const emulation::Order order : {emulation::Order::kForward, emulation::Order::kReverse}) {
    const std::vector<float> out = Prefill(batch, plan, {order});
    EXPECT_LE(batch.WorstError(out), batch.tolerance());
    EXPECT_EQ(out, Prefill(batch, plan, {})) << "merged in the order of arrival?";
  }
}

}  // namespace
}  // namespace reprise::engine::cuda
