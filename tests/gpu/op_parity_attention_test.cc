// Attention kernels through their launchers against the CPU backend: fresh random KV and queries,
// blocks anywhere between poisoned ones, outputs poisoned. The Small tests are small enough for the
// emulation, and for checkers of memory and races; the others need a card.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "engine/backend/cuda/cascade_plan.h"
#include "engine/backend/cuda/decode_plan.h"
#include "engine/backend/cuda/kernels/launchers.h"
#include "engine/backend/cuda/prefill_plan.h"
#include "tests/engine/backend/cuda/paged_batch.h"
#include "tests/fakes/test_seed.h"
#include "tests/gpu/kernel_bed.h"

namespace reprise::engine::cuda {
namespace {

using cachestore::DType;
using testing::Each;

constexpr cudaError_t kLaunched = cudaSuccess;

// A batch whose operands lie in the device's memory.
class AttentionOperands {
 public:
  AttentionOperands(KernelBed& bed, const PagedBatch& batch)
      : q(bed.Put(batch.q())),
        out(bed.Poisoned<float>(batch.q().size())),
        rows(bed.Put(batch.rows())),
        kv(batch.kv()),
        arena_(bed.Put(batch.arena())),
        table_(bed.Put(batch.table())) {
    kv.arena = arena_.data;
    kv.table = table_.data;
  }

  const KernelBed::Array<float> q;
  const KernelBed::Array<float> out;
  const KernelBed::Array<AttentionRow> rows;
  PagedKv kv;
  int64_t arena_bytes() const { return static_cast<int64_t>(arena_.size); }

 private:
  const KernelBed::Array<uint8_t> arena_;
  const KernelBed::Array<uint32_t> table_;
};

// What all attention kernels are told.
template <typename Params>
Params ParamsOf(const PagedBatch& batch, const AttentionOperands& operands) {
  Params params;
  params.q = operands.q.data;
  params.out = operands.out.data;
  params.kv = operands.kv;
  params.heads = batch.shape().heads;
  params.window = batch.window();
  params.scale_log2 = batch.scale_log2();
  return params;
}

// The decode kernel's output for `batch`, of which it is told `rows`.
std::vector<float> Decode(KernelBed& bed, const PagedBatch& batch,
                          const std::vector<AttentionRow>& rows) {
  const AttentionOperands operands(bed, batch);
  auto params = ParamsOf<DecodeParams>(batch, operands);
  int num_blocks = 0;
  EXPECT_EQ(DecodeAttentionBlocks(params.kv.type, params.kv.head_dim, &num_blocks), kLaunched);
  params.head_tiles = HeadTiles(params.heads, params.kv.kv_heads);
  const DecodePlan plan = PlanDecode(rows, params.head_tiles, params.window, num_blocks);
  const auto segments = bed.Put(plan.segments);
  const auto first_segment = bed.Put(plan.first_segment);
  const auto states = bed.Poisoned<float>(plan.num_states * kTileHeads * (params.kv.head_dim + 2));
  const auto counters = bed.Put(std::vector<uint32_t>(rows.size() * params.head_tiles));
  const auto lengths = bed.Put(rows);
  params.rows = lengths.data;
  params.segments = segments.data;
  params.first_segment = first_segment.data;
  params.states = states.data;
  params.counters = counters.data;
  EXPECT_EQ(LaunchDecodeAttention(params, num_blocks, bed.stream()), kLaunched);
  EXPECT_THAT(bed.Get(counters), Each(0u)) << "the next launch would merge too early";
  bed.Get(states);
  return bed.Get(operands.out);
}

// Which prefill kernel, and what its plans are made of.
struct PrefillKernel {
  const PrefillTiling& tiling;
  bool is_hopper;
};
constexpr PrefillKernel kMmaSync = {kPrefillTiling, false};
constexpr PrefillKernel kHopper = {kSm90Tiling, true};

// `num_blocks`: what the plan cuts positions into pieces for. Empty: not on this card.
std::vector<float> Prefill(KernelBed& bed, const PagedBatch& batch, const PrefillKernel& kernel,
                           int num_blocks) {
  const AttentionOperands operands(bed, batch);
  auto params = ParamsOf<PrefillParams>(batch, operands);
  const PrefillPlan plan =
      PlanPrefill(batch.prefill_rows(), params.kv.kv_heads, params.heads / params.kv.kv_heads,
                  params.window, num_blocks, kernel.tiling);
  const auto items = bed.Put(plan.items);
  const auto states =
      bed.Poisoned<float>(plan.num_states * kernel.tiling.pairs * (params.kv.head_dim + 2));
  const auto counters = bed.Put(std::vector<uint32_t>(plan.num_counters));
  params.items = items.data;
  params.states = states.data;
  params.counters = counters.data;
  const int num_items = static_cast<int>(plan.items.size());
  const cudaError_t error =
      kernel.is_hopper ? LaunchPrefillSm90(params, operands.arena_bytes(), num_items, bed.stream())
                       : LaunchPrefillAttention(params, num_items, bed.stream());
  if (error == cudaErrorNoKernelImageForDevice) return {};
  EXPECT_EQ(error, kLaunched);
  EXPECT_THAT(bed.Get(counters), Each(0u)) << "the next launch would merge too early";
  bed.Get(states);
  return bed.Get(operands.out);
}

// The three launches of cascade_plan.h.
std::vector<float> Cascade(KernelBed& bed, const PagedBatch& batch) {
  const AttentionOperands operands(bed, batch);
  const PagedShape& shape = batch.shape();
  const std::vector<PrefixGroup> groups = FindPrefixGroups(
      batch.rows(), batch.table().data(), batch.table_stride(), shape.block_tokens);
  EXPECT_FALSE(groups.empty());
  const CascadePlan plan = PlanCascade(groups, batch.rows(), shape.kv_heads,
                                       shape.heads / shape.kv_heads, /*num_blocks=*/4);
  const int64_t state_floats = shape.head_dim + 2;
  const auto part_stride = static_cast<int64_t>(batch.rows().size()) * shape.heads * state_floats;
  const auto row_states = bed.Poisoned<float>(kCascadeParts * part_stride);
  const auto row_list = bed.Put(plan.row_list);

  auto prefix = ParamsOf<PrefillParams>(batch, operands);
  const auto prefix_counters = bed.Put(std::vector<uint32_t>(plan.prefix_items.num_counters));
  prefix.items = bed.Put(plan.prefix_items.items).data;
  prefix.states =
      bed.Poisoned<float>(plan.prefix_items.num_states * kPrefillPairs * state_floats).data;
  prefix.counters = prefix_counters.data;
  prefix.row_list = row_list.data;
  prefix.row_states = row_states.data;
  EXPECT_EQ(LaunchPrefillAttention(prefix, static_cast<int>(plan.prefix_items.items.size()),
                                   bed.stream()),
            kLaunched);

  auto decode = ParamsOf<DecodeParams>(batch, operands);
  int num_blocks = 0;
  EXPECT_EQ(DecodeAttentionBlocks(decode.kv.type, shape.head_dim, &num_blocks), kLaunched);
  decode.head_tiles = HeadTiles(shape.heads, shape.kv_heads);
  const DecodePlan cuts =
      PlanDecode(batch.rows(), decode.head_tiles, kNoWindow, num_blocks, plan.prefixes);
  decode.rows = operands.rows.data;
  decode.segments = bed.Put(cuts.segments).data;
  decode.first_segment = bed.Put(cuts.first_segment).data;
  decode.states = bed.Poisoned<float>(cuts.num_states * kTileHeads * state_floats).data;
  decode.counters = bed.Put(std::vector<uint32_t>(batch.rows().size() * decode.head_tiles)).data;
  decode.prefixes = bed.Put(plan.prefixes).data;
  decode.row_states = row_states.data + part_stride;
  EXPECT_EQ(LaunchDecodeAttention(decode, num_blocks, bed.stream()), kLaunched);

  MergeStatesParams merge;
  merge.states = row_states.data;
  merge.part_stride = part_stride;
  merge.parts = kCascadeParts;
  merge.rows = row_list.data;
  merge.out = operands.out.data;
  merge.heads = shape.heads;
  merge.head_dim = shape.head_dim;
  EXPECT_EQ(LaunchMergeStates(merge, static_cast<int>(plan.row_list.size()), bed.stream()),
            kLaunched);
  bed.Get(row_states);
  return bed.Get(operands.out);
}

std::vector<float> Generic(KernelBed& bed, const PagedBatch& batch) {
  const AttentionOperands operands(bed, batch);
  auto params = ParamsOf<GenericAttentionParams>(batch, operands);
  params.rows = operands.rows.data;
  EXPECT_EQ(LaunchGenericAttention(params, static_cast<int>(batch.rows().size()), bed.stream()),
            kLaunched);
  return bed.Get(operands.out);
}

class OpParityAttentionTest : public KernelTest {
 protected:
  // Runs as often as a moving error would need to show itself.
  static constexpr int kRuns = 3;

  void ExpectDecodeAgrees(const PagedShape& shape, std::vector<PagedSequence> sequences) {
    SCOPED_TRACE(shape.Name());
    PagedBatch batch(shape, std::move(sequences), seed_++);
    const std::vector<float> out = Decode(bed(), batch, batch.rows());
    EXPECT_LE(batch.WorstError(out), batch.tolerance());
    ExpectSame(out, [&] { return Decode(bed(), batch, batch.rows()); });
  }

  void ExpectPrefillAgrees(const PrefillKernel& kernel, const PagedShape& shape,
                           std::vector<PagedSequence> sequences, int num_blocks) {
    SCOPED_TRACE(shape.Name());
    PagedBatch batch(shape, std::move(sequences), seed_++);
    const std::vector<float> out = Prefill(bed(), batch, kernel, num_blocks);
    ASSERT_FALSE(out.empty()) << "the kernel is not for this card";
    EXPECT_LE(batch.WorstError(out), batch.tolerance());
    ExpectSame(out, [&] { return Prefill(bed(), batch, kernel, num_blocks); });
  }

  // Rows 0 .. of `lengths`, which share the first `shared` positions.
  void ExpectCascadeAgrees(const PagedShape& shape, int shared, const std::vector<int>& lengths) {
    SCOPED_TRACE(shape.Name());
    std::vector<PagedSequence> sequences = {{lengths[0] - 1}};
    for (size_t i = 1; i < lengths.size(); ++i) {
      sequences.push_back({lengths[i] - 1, 1, 0, shared});
    }
    PagedBatch batch(shape, std::move(sequences), seed_++);
    const std::vector<float> out = Cascade(bed(), batch);
    EXPECT_LE(batch.WorstError(out), batch.tolerance());
    ExpectSame(out, [&] { return Cascade(bed(), batch); });
  }

  void ExpectGenericAgrees(const PagedShape& shape, std::vector<PagedSequence> sequences) {
    SCOPED_TRACE(shape.Name());
    PagedBatch batch(shape, std::move(sequences), seed_++);
    EXPECT_LE(batch.WorstError(Generic(bed(), batch)), 1e-5);
  }

  uint32_t seed_ = TestSeed();

 private:
  // The emulation is deterministic anyway.
  template <typename Run>
  void ExpectSame(const std::vector<float>& out, const Run& run) {
    for (int i = 1; i < kRuns && !KernelsAreEmulated(); ++i) {
      EXPECT_EQ(run(), out) << "the same launch gives other bits";
    }
  }
};

TEST_F(OpParityAttentionTest, SmallDecode) {
  const std::vector<PagedSequence> sequences = {{0}, {15}, {16}, {64}, {99}};
  ExpectDecodeAgrees({4, 1, 64, 16, DType::kBF16}, sequences);
  ExpectDecodeAgrees({14, 2, 128, 16, DType::kBF16}, sequences);
  ExpectDecodeAgrees({6, 2, 128, 64, DType::kF16}, sequences);
  ExpectDecodeAgrees({4, 1, 128, 16, DType::kF8E4M3}, sequences);
  ExpectDecodeAgrees({2, 1, 64, 8, DType::kInt8, 40}, sequences);
}

TEST_F(OpParityAttentionTest, SmallPrefill) {
  const std::vector<PagedSequence> sequences = {{0, 17}, {50, 25}, {63, 2}};
  ExpectPrefillAgrees(kMmaSync, {4, 1, 64, 16, DType::kBF16}, sequences, 1);
  ExpectPrefillAgrees(kMmaSync, {3, 3, 64, 8, DType::kF16}, sequences, 1);
  ExpectPrefillAgrees(kMmaSync, {8, 2, 128, 32, DType::kF8E4M3}, sequences, 1);
  ExpectPrefillAgrees(kMmaSync, {3, 1, 128, 8, DType::kInt8, 10}, sequences, 1);
  ExpectPrefillAgrees(kMmaSync, {2, 1, 64, 16, DType::kF16}, {{1100, 9}},
                      4);  // cut into two pieces
}

TEST_F(OpParityAttentionTest, SmallPrefillOnHopper) {
  if (const std::string why = WhyNotHopper(); !why.empty()) GTEST_SKIP() << why;
  const std::vector<PagedSequence> sequences = {{0, 17}, {110, 25}, {127, 2}};
  ExpectPrefillAgrees(kHopper, {4, 1, 64, 16, DType::kBF16}, sequences, 1);
  ExpectPrefillAgrees(kHopper, {3, 1, 128, 32, DType::kF16, 50}, sequences, 1);
  ExpectPrefillAgrees(kHopper, {7, 1, 128, 16, DType::kBF16}, sequences, 1);
  ExpectPrefillAgrees(kHopper, {3, 3, 64, 8, DType::kF16}, sequences, 1);
  ExpectPrefillAgrees(kHopper, {2, 1, 128, 256, DType::kF16, 10}, sequences, 1);
  ExpectPrefillAgrees(kHopper, {2, 1, 64, 16, DType::kF16}, {{1100, 9}}, 4);
}

TEST_F(OpParityAttentionTest, SmallCascade) {
  ExpectCascadeAgrees({4, 1, 64, 16, DType::kBF16}, 512, {513, 531, 600, 577});
  ExpectCascadeAgrees({8, 2, 128, 32, DType::kF8E4M3}, 512, {520, 531, 600, 577, 640});
}

TEST_F(OpParityAttentionTest, SmallGeneric) {
  const std::vector<PagedSequence> sequences = {{0}, {31, 3}, {0, 5}};
  ExpectGenericAgrees({4, 2, 80, 16, DType::kF32, 9}, sequences);
  ExpectGenericAgrees({2, 1, 40, 7, DType::kInt4}, sequences);
  ExpectGenericAgrees({2, 1, 256, 16, DType::kF8E4M3}, sequences);
}

// What the checks above would say of a kernel that is wrong: of a row that sees one position less,
// and of one that is not written. Else nothing of this file means anything.
TEST_F(OpParityAttentionTest, SmallWrongResultsAreSeen) {
  PagedBatch batch({4, 1, 64, 16, DType::kBF16}, {{20}, {99}, {7}}, seed_);
  std::vector<AttentionRow> rows = batch.rows();
  --rows[1].length;
  EXPECT_GT(batch.WorstError(Decode(bed(), batch, rows)), batch.tolerance());
  rows = batch.rows();
  rows.pop_back();
  EXPECT_EQ(batch.WorstError(Decode(bed(), batch, rows)), std::numeric_limits<double>::infinity());
}

// Shapes of real models, on a card.
class OpParityLargeAttentionTest : public OpParityAttentionTest {
 protected:
  void SetUp() override {
    if (KernelsAreEmulated()) GTEST_SKIP() << "too large for the emulation";
    OpParityAttentionTest::SetUp();
  }
};

TEST_F(OpParityLargeAttentionTest, Decode) {
  const std::vector<PagedSequence> skewed = {{0}, {15}, {1023}, {300}, {4095}, {4096}};
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF8E4M3, DType::kInt8}) {
    ExpectDecodeAgrees({32, 8, 128, 16, dtype}, skewed);
    ExpectDecodeAgrees({14, 2, 64, 16, dtype}, skewed);
    ExpectDecodeAgrees({16, 1, 128, 32, dtype, 1000}, skewed);
  }
  ExpectDecodeAgrees({32, 8, 128, 16, DType::kBF16}, {{16'384}});  // one row, cut many times
  ExpectDecodeAgrees({8, 1, 128, 16, DType::kBF16}, std::vector<PagedSequence>(256, {170}));
}

TEST_F(OpParityLargeAttentionTest, Prefill) {
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF8E4M3, DType::kInt8}) {
    ExpectPrefillAgrees(kMmaSync, {32, 8, 128, 16, dtype}, {{0, 500}, {1000, 130}}, 132);
    ExpectPrefillAgrees(kMmaSync, {14, 2, 64, 16, dtype}, {{0, 333}, {2047, 70}, {5, 1}}, 132);
    ExpectPrefillAgrees(kMmaSync, {64, 1, 128, 32, dtype, 200}, {{100, 90}}, 132);
  }
  ExpectPrefillAgrees(kMmaSync, {8, 2, 128, 16, DType::kBF16}, {{6000, 64}},
                      264);  // cut many times
}

TEST_F(OpParityLargeAttentionTest, PrefillOnHopper) {
  if (const std::string why = WhyNotHopper(); !why.empty()) GTEST_SKIP() << why;
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    ExpectPrefillAgrees(kHopper, {32, 8, 128, 16, dtype}, {{0, 500}, {1000, 130}}, 132);
    ExpectPrefillAgrees(kHopper, {14, 2, 64, 16, dtype}, {{0, 333}, {2047, 70}, {5, 1}}, 132);
    ExpectPrefillAgrees(kHopper, {64, 1, 128, 32, dtype, 200}, {{100, 90}}, 132);
  }
  ExpectPrefillAgrees(kHopper, {8, 2, 128, 16, DType::kBF16}, {{6000, 64}}, 132);
}

TEST_F(OpParityLargeAttentionTest, Cascade) {
  std::vector<int> lengths;
  for (int i = 0; i < 64; ++i) lengths.push_back(2049 + 7 * i);
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF8E4M3, DType::kInt8}) {
    ExpectCascadeAgrees({32, 8, 128, 16, dtype}, 2048, lengths);
  }
}

TEST_F(OpParityLargeAttentionTest, Generic) {
  const std::vector<PagedSequence> sequences = {{0}, {1000}, {0, 65}, {257, 33}};
  for (const DType dtype : cachestore::kAllDTypes) {
    ExpectGenericAgrees({16, 8, 96, 16, dtype}, sequences);
    ExpectGenericAgrees({4, 1, 256, 16, dtype, 64}, sequences);
  }
}

}  // namespace
}  // namespace reprise::engine::cuda
