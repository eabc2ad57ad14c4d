#include "engine/backend/cuda/kernels/prefill_sm90.cuh"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "engine/backend/cuda/prefill_plan.h"
#include "tests/engine/backend/cuda/paged_batch.h"
#include "tests/engine/backend/cuda/prefill_operands.h"
#include "tests/engine/backend/cuda/schedules.h"

namespace reprise::engine::cuda {
namespace {

using cachestore::DType;
using emulation::Launch;
using emulation::Schedule;

template <KvType kType>
void RunBlock(const PrefillSm90Params& params) {
  params.prefill.kv.head_dim == 64 ? PrefillSm90Block<kType, 64>(params)
                                   : PrefillSm90Block<kType, 128>(params);
}

// Bytes of the arena up to the end of its last block.
int64_t ArenaBytes(PagedBatch& batch) {
  const PagedKv kv = batch.kv();
  int64_t last = 0;
  for (size_t s = 0; s < batch.sequences().size(); ++s) {
    const PagedSequence& sequence = batch.sequences()[s];
    const int tokens = sequence.start + sequence.num_rows;
    for (int b = 0; b * kv.block_tokens < tokens; ++b) {
      last = std::max(last, int64_t{kv.table[s * kv.table_stride + b]});
    }
  }
  return last * kBlockUnit + static_cast<int64_t>(batch.layout().BytesPerBlock());
}

std::vector<float> Prefill(PagedBatch& batch, const PrefillPlan& plan, const Schedule& schedule) {
  const PagedShape& shape = batch.shape();
  PrefillOperands operands(batch, plan, kSm90Tiling);
  PrefillSm90Params all;
  const PrefillParams& params = all.prefill = operands.params;
  EXPECT_TRUE(FitsSm90(params.kv));
  all.rows = {reinterpret_cast<const std::byte*>(params.kv.arena),
              ArenaBytes(batch) / params.kv.row_bytes, shape.head_dim,
              Sm90BoxRows(shape.block_tokens), kLineElements};
  const LaunchShape launch = Sm90Shape(shape.head_dim, static_cast<int>(plan.items.size()));
  const absl::Status status =
      Launch({launch.grid_x, launch.grid_y, launch.threads, launch.shared_bytes}, schedule, [&] {
        params.kv.type == KvType::kBF16 ? RunBlock<KvType::kBF16>(all)
                                        : RunBlock<KvType::kF16>(all);
      });
  EXPECT_TRUE(status.ok()) << status;
  return operands.Take();
}

class PrefillSm90Test : public testing::TestWithParam<PagedShape> {};

// Chunks that begin and end off every tile; rows that see 1 position, a whole tile, one more, four
// tiles; with a window of 10 rows that see nothing of an item's first tile.
TEST_P(PrefillSm90Test, AgreesWithTheCpuBackend) {
  PagedBatch batch(GetParam(), {{0, 17}, {110, 25}, {127, 2}, {400, 1}});
  const PrefillPlan plan = PlanOf(batch, 1, kSm90Tiling);
  const auto outputs = OnSchedules<float>(
      FewSchedules(), [&](const Schedule& schedule) { return Prefill(batch, plan, schedule); });
  EXPECT_TRUE(AreSame(outputs));
  EXPECT_LE(batch.WorstError(outputs[0]), batch.tolerance());
}

INSTANTIATE_TEST_SUITE_P(Shapes, PrefillSm90Test,
                         testing::Values(PagedShape{4, 1, 64, 16, DType::kBF16},
                                         PagedShape{7, 1, 128, 16, DType::kBF16},
                                         PagedShape{3, 3, 64, 8, DType::kF16},
                                         PagedShape{16, 1, 128, 64, DType::kF16},
                                         PagedShape{2, 1, 128, 256, DType::kBF16},
                                         PagedShape{4, 2, 64, 16, DType::kBF16, 10},
                                         PagedShape{2, 1, 128, 8, DType::kF16, 128}),
                         CaseName);

// Tiles are counted from position 0: as long as positions are not cut into pieces, a row has the
// same bits whatever rows are computed with it.
TEST(PrefillSm90Test, RowsHaveTheSameBitsHoweverTheyAreChunked) {
  for (const int window : {0, 10}) {
    PagedBatch batch({2, 1, 64, 16, DType::kBF16, window}, {{0, 150}});
    const auto run = [&](const std::vector<PrefillRows>& chunks) {
      return Prefill(batch, PlanPrefill(chunks, 1, 2, batch.window(), 1, kSm90Tiling), {});
    };
    EXPECT_EQ(run({{0, 150, 0, 0}}), run({{0, 1, 0, 0}, {1, 86, 0, 1}, {87, 63, 0, 87}}));
  }
}

TEST(PrefillSm90Test, PiecesOfLongRowsMerge) {
  PagedBatch batch({2, 1, 64, 16, DType::kF16}, {{1020, 9}});
  const PrefillPlan plan = PlanOf(batch, 2, kSm90Tiling);
  ASSERT_EQ(plan.items.size(), 2u);
  ASSERT_EQ(plan.items[0].pieces, 2);
  for (const emulation::Order order : {emulation::Order::kForward, emulation::Order::kReverse}) {
    const std::vector<float> out = Prefill(batch, plan, {order});
    EXPECT_LE(batch.WorstError(out), batch.tolerance());
    EXPECT_EQ(out, Prefill(batch, plan, {})) << "merged in the order of arrival?";
  }
}

TEST(PrefillSm90Test, OtherBlocksAreLeftToOtherKernels) {
  PagedKv kv = PagedBatch({2, 1, 64, 16, DType::kBF16}, {{0, 1}}).kv();
  EXPECT_TRUE(FitsSm90(kv));
  PagedKv other = kv;
  other.type = KvType::kE4M3;
  EXPECT_FALSE(FitsSm90(other));
  other = kv;
  other.block_tokens = 4;
  EXPECT_FALSE(FitsSm90(other));
  other = kv;
  other.values_offset += kv.row_bytes / 2;
  EXPECT_FALSE(FitsSm90(other)) << "a row that the tensor map has no number for";
}

}  // namespace
}  // namespace reprise::engine::cuda
