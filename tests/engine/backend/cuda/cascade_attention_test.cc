// Cascade decode as a whole: groups, plans, and the three kernels.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <vector>

#include "engine/backend/cuda/cascade_plan.h"
#include "engine/backend/cuda/decode_plan.h"
#include "engine/backend/cuda/kernels/decode_attention.cuh"
#include "engine/backend/cuda/kernels/merge_states.cuh"
#include "engine/backend/cuda/kernels/prefill_attention.cuh"
#include "tests/engine/backend/cuda/paged_batch.h"
#include "tests/engine/backend/cuda/schedules.h"

namespace reprise::engine::cuda {
namespace {

using cachestore::DType;
using emulation::Schedule;
using testing::Each;
using testing::ElementsAre;
using testing::SizeIs;

constexpr float kPoison = std::numeric_limits<float>::quiet_NaN();

void Launch(const LaunchShape& shape, const Schedule& schedule, absl::FunctionRef<void()> kernel) {
  const absl::Status status = emulation::Launch(
      {shape.grid_x, shape.grid_y, shape.threads, shape.shared_bytes}, schedule, kernel);
  EXPECT_TRUE(status.ok()) << status;
}

// What the three kernels make of a batch, of one KV type and head_dim.
template <KvType kType, int kHeadDim>
class CascadeRun {
 public:
  CascadeRun(PagedBatch* batch, const CascadePlan& plan)
      : batch_(batch), plan_(plan), out_(batch->PoisonedOut()) {
    const int64_t heads = static_cast<int64_t>(batch->rows().size()) * batch->shape().heads;
    part_stride_ = heads * StateFloats(kHeadDim);
    row_states_.assign(kCascadeParts * part_stride_, kPoison);
  }

  std::vector<float> Run(int decode_blocks, const Schedule& schedule) {
    AttendToPrefixes(schedule);
    AttendBehindPrefixes(decode_blocks, schedule);
    Merge(schedule);
    return out_;
  }

 private:
  void AttendToPrefixes(const Schedule& schedule) {
    const PrefillPlan& items = plan_.prefix_items;
    std::vector<float> states(items.num_states * kPrefillPairs * StateFloats(kHeadDim), kPoison);
    std::vector<uint32_t> counters(items.num_counters);
    PrefillParams params;
    params.q = batch_->q().data();
    params.kv = batch_->kv();
    params.items = items.items.data();
    params.row_list = plan_.row_list.data();
    params.states = states.data();
    params.counters = counters.data();
    params.row_states = row_states_.data();
    params.heads = batch_->shape().heads;
    params.scale_log2 = batch_->scale_log2();
    Launch(PrefillShape(params.kv.row_bytes, static_cast<int>(items.items.size())), schedule,
           [&] { PrefillAttentionBlock<kType, kHeadDim>(params); });
    EXPECT_THAT(counters, Each(0u));
  }

  void AttendBehindPrefixes(int num_blocks, const Schedule& schedule) {
    const int head_tiles = HeadTiles(batch_->shape().heads, batch_->shape().kv_heads);
    const DecodePlan decode =
        PlanDecode(batch_->rows(), head_tiles, kNoWindow, num_blocks, plan_.prefixes);
    std::vector<float> states(decode.num_states * kTileHeads * StateFloats(kHeadDim), kPoison);
    std::vector<uint32_t> counters(batch_->rows().size() * head_tiles);
    DecodeParams params;
    params.q = batch_->q().data();
    params.out = out_.data();
    params.kv = batch_->kv();
    params.rows = batch_->rows().data();
    params.segments = decode.segments.data();
    params.first_segment = decode.first_segment.data();
    params.states = states.data();
    params.counters = counters.data();
    params.prefixes = plan_.prefixes.data();
    params.row_states = row_states_.data() + part_stride_;
    params.heads = batch_->shape().heads;
    params.head_tiles = head_tiles;
    params.scale_log2 = batch_->scale_log2();
    Launch(DecodeShape(kHeadDim, num_blocks), schedule,
           [&] { DecodeAttentionBlock<kType, kHeadDim>(params); });
    EXPECT_THAT(counters, Each(0u));
  }

  void Merge(const Schedule& schedule) {
    MergeStatesParams params;
    params.states = row_states_.data();
    params.part_stride = part_stride_;
    params.parts = kCascadeParts;
    params.rows = plan_.row_list.data();
    params.out = out_.data();
    params.heads = batch_->shape().heads;
    params.head_dim = kHeadDim;
    Launch(MergeStatesShape(static_cast<int>(plan_.row_list.size()), params.heads), schedule,
           [&] { MergeStatesBlock(params); });
  }

  PagedBatch* const batch_;
  const CascadePlan& plan_;
  std::vector<float> out_;
  int64_t part_stride_ = 0;
  std::vector<float> row_states_;  // [parts][rows][heads][head_dim + 2]
};

std::vector<PrefixGroup> GroupsOf(const PagedBatch& batch) {
  return FindPrefixGroups(batch.rows(), batch.table().data(), batch.table_stride(),
                          batch.shape().block_tokens);
}

CascadePlan PlanOf(const PagedBatch& batch, const std::vector<PrefixGroup>& groups,
                   int num_blocks) {
  const PagedShape& shape = batch.shape();
  return PlanCascade(groups, batch.rows(), shape.kv_heads, shape.heads / shape.kv_heads,
                     num_blocks);
}

double Tolerance(DType dtype) {
  return dtype == DType::kBF16 || dtype == DType::kInt8 ? 1e-2 : 2e-3;
}

// Four rows that share 512 positions, the first of which has 1 of its own, and one that shares too
// few, between them.
std::vector<PagedSequence> OneGroup() {
  return {{512}, {530, 1, 0, 512}, {100, 1, 0, 64}, {591, 1, 0, 512}, {576, 1, 0, 512}};
}

template <KvType kType, int kHeadDim>
void ExpectAgrees(const PagedShape& shape) {
  PagedBatch batch(shape, OneGroup());
  const std::vector<PrefixGroup> groups = GroupsOf(batch);
  ASSERT_THAT(groups, SizeIs(1)) << shape.Name();
  ASSERT_THAT(groups[0].rows, ElementsAre(0, 1, 3, 4));
  ASSERT_EQ(groups[0].positions, 512);
  const CascadePlan plan = PlanOf(batch, groups, 1);
  const auto outputs = OnSchedules<float>(FewSchedules(), [&](const Schedule& schedule) {
    return CascadeRun<kType, kHeadDim>(&batch, plan).Run(3, schedule);
  });
  EXPECT_TRUE(AreSame(outputs)) << shape.Name();
  EXPECT_LE(batch.WorstError(outputs[0]), Tolerance(shape.dtype)) << shape.Name();
}

TEST(CascadeAttentionTest, AgreesWithTheCpuBackend) {
  ExpectAgrees<KvType::kBF16, 64>({4, 1, 64, 16, DType::kBF16});
  ExpectAgrees<KvType::kF16, 128>({14, 2, 128, 64, DType::kF16});
  ExpectAgrees<KvType::kE4M3, 64>({3, 3, 64, 32, DType::kF8E4M3});
  ExpectAgrees<KvType::kInt8, 128>({16, 1, 128, 8, DType::kInt8});
}

// The prefix is cut into pieces, and the group's rows into items.
TEST(CascadeAttentionTest, PiecesOfThePrefixMerge) {
  std::vector<PagedSequence> sequences = {{1024}};
  for (int i = 0; i < 4; ++i) sequences.push_back({1030 + i, 1, 0, 1024});
  PagedBatch batch({16, 1, 64, 16, DType::kF16}, sequences);
  const CascadePlan plan = PlanOf(batch, GroupsOf(batch), 4);
  ASSERT_THAT(plan.prefix_items.items, SizeIs(4));
  ASSERT_EQ(plan.prefix_items.items[0].pieces, 2);
  const auto outputs = OnSchedules<float>(FewSchedules(), [&](const Schedule& schedule) {
    return CascadeRun<KvType::kF16, 64>(&batch, plan).Run(1, schedule);
  });
  EXPECT_TRUE(AreSame(outputs)) << "merged in the order of arrival?";
  EXPECT_LE(batch.WorstError(outputs[0]), Tolerance(DType::kF16));
}

// A row that is put into a group whose blocks it does not have, or with a prefix that is too long,
// is far off.
TEST(CascadeAttentionTest, AWrongGroupIsFarOff) {
  PagedBatch batch({4, 1, 64, 16, DType::kBF16},
                   {{600}, {620, 1, 0, 512}, {640, 1, 0, 512}, {660, 1, 0, 512}, {650}});
  const auto error = [&](const PrefixGroup& group) {
    const CascadePlan plan = PlanOf(batch, {group}, 1);
    return batch.WorstError(CascadeRun<KvType::kBF16, 64>(&batch, plan).Run(1, {}));
  };
  EXPECT_LE(error({{0, 1, 2, 3}, 512}), Tolerance(DType::kBF16));
  EXPECT_GT(error({{0, 1, 2, 3, 4}, 512}), 0.1);
  EXPECT_GT(error({{0, 1, 2, 3}, 576}), 0.1);
}

}  // namespace
}  // namespace reprise::engine::cuda
