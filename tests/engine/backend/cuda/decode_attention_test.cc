#include "engine/backend/cuda/kernels/decode_attention.cuh"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include "engine/backend/cuda/decode_plan.h"
#include "tests/engine/backend/cuda/kernel_instance.h"
#include "tests/engine/backend/cuda/paged_batch.h"
#include "tests/engine/backend/cuda/schedules.h"

namespace reprise::engine::cuda {
namespace {

using cachestore::DType;
using emulation::Launch;
using emulation::Schedule;
using testing::Each;

std::vector<float> Decode(PagedBatch& batch, int num_blocks, const Schedule& schedule) {
  const PagedShape& shape = batch.shape();
  const int head_tiles = HeadTiles(shape.heads, shape.kv_heads);
  const DecodePlan plan = PlanDecode(batch.rows(), head_tiles, batch.window(), num_blocks);
  std::vector<float> states(plan.num_states * kTileHeads * (shape.head_dim + 2),
                            std::numeric_limits<float>::quiet_NaN());
  std::vector<uint32_t> counters(batch.rows().size() * head_tiles);
  std::vector<float> out = batch.PoisonedOut();
  DecodeParams params;
  params.q = batch.q().data();
  params.out = out.data();
  params.kv = batch.kv();
  params.rows = batch.rows().data();
  params.segments = plan.segments.data();
  params.first_segment = plan.first_segment.data();
  params.states = states.data();
  params.counters = counters.data();
  params.heads = shape.heads;
  params.head_tiles = head_tiles;
  params.window = batch.window();
  params.scale_log2 = batch.scale_log2();
  const LaunchShape launch = DecodeShape(shape.head_dim, num_blocks);
  const absl::Status status =
      Launch({launch.grid_x, launch.grid_y, launch.threads, launch.shared_bytes}, schedule, [&] {
        WithInstance(params.kv, [&]<KvType kType, int kHeadDim>() {
          DecodeAttentionBlock<kType, kHeadDim>(params);
        });
      });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_THAT(counters, Each(0u)) << "the next launch would merge too early";
  return out;
}

class DecodeAttentionTest : public testing::TestWithParam<PagedShape> {};

TEST_P(DecodeAttentionTest, AgreesWithTheCpuBackend) {
  PagedBatch batch(GetParam(), {{0}, {14}, {15}, {16}, {62}, {63}, {64}, {128}});
  // 5 blocks: rows are cut within and between blocks; 40: most of them into single tiles.
  for (const int num_blocks : {5, 40}) {
    const auto outputs = OnSchedules<float>(FewSchedules(), [&](const Schedule& schedule) {
      return Decode(batch, num_blocks, schedule);
    });
    EXPECT_TRUE(AreSame(outputs));
    EXPECT_LE(batch.WorstError(outputs[0]), batch.tolerance());
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, DecodeAttentionTest,
    testing::Values(
        PagedShape{4, 1, 64, 16, DType::kBF16}, PagedShape{3, 3, 64, 8, DType::kBF16},
        PagedShape{14, 2, 128, 16, DType::kBF16}, PagedShape{16, 1, 64, 16, DType::kBF16},
        PagedShape{6, 2, 128, 64, DType::kF16}, PagedShape{8, 1, 64, 32, DType::kF16},
        PagedShape{4, 1, 128, 16, DType::kF8E4M3}, PagedShape{3, 1, 64, 16, DType::kF8E4M3},
        PagedShape{8, 2, 128, 16, DType::kInt8}, PagedShape{2, 1, 64, 8, DType::kInt8},
        PagedShape{4, 2, 64, 16, DType::kBF16, 21}, PagedShape{2, 1, 64, 8, DType::kInt8, 64}),
    [](const auto& info) {
      std::string name = info.param.Name();
      std::replace_if(
          name.begin(), name.end(), [](char c) { return c == ' ' || c == '/'; }, '_');
      return name;
    });

// Errors of 8-bit KV do not grow with the context.
TEST(DecodeAttentionTest, EightBitKvIsAsExactOverLongContexts) {
  for (const int window : {0, 1500}) {
    for (const DType dtype : {DType::kF8E4M3, DType::kInt8}) {
      PagedBatch batch({4, 1, 128, 8, dtype, window}, {{2995}, {3}});
      EXPECT_LE(batch.WorstError(Decode(batch, 7, {})), batch.tolerance());
    }
  }
}

// What a row gives depends on its own positions and their cuts, not on the rows beside it.
TEST(DecodeAttentionTest, ARowThatIsNotCutHasTheSameBits) {
  PagedBatch batch({4, 1, 64, 16, DType::kBF16}, {{20}, {99}, {7}, {40}, {33}});
  constexpr int kBlocks = 3;
  const DecodePlan plan = PlanDecode(batch.rows(), 1, kNoWindow, kBlocks);
  const std::vector<float> whole = Decode(batch, 1, {});
  const std::vector<float> cut = Decode(batch, kBlocks, {});
  const int cols = batch.shape().heads * batch.shape().head_dim;
  int num_equal = 0;
  for (const DecodeSegment& segment : plan.segments) {
    if (segment.piece > 0) continue;
    const bool is_equal =
        std::equal(whole.begin() + segment.row * cols, whole.begin() + (segment.row + 1) * cols,
                   cut.begin() + segment.row * cols);
    num_equal += is_equal ? 1 : 0;
    EXPECT_TRUE(is_equal || segment.pieces > 1) << "row " << segment.row;
  }
  EXPECT_GT(num_equal, 0);
  EXPECT_NE(whole, cut) << "no row was cut";
}

}  // namespace
}  // namespace reprise::engine::cuda
