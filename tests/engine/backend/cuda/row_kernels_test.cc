// Embeddings, norms, activations, and what comes between the product of q, k, v and attention,
// against the CPU backend on odd widths and poisoned outputs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/backend/cpu_elementwise.h"
#include "engine/backend/cuda/kernels/activation.cuh"
#include "engine/backend/cuda/kernels/embed_norm.cuh"
#include "engine/backend/cuda/kernels/rope_append.cuh"
#include "engine/backend/cuda/kv_description.h"
#include "engine/backend/kv_format.h"
#include "engine/backend/kv_rows.h"
#include "engine/backend/rope_table.h"
#include "tests/engine/backend/cuda/schedules.h"

namespace reprise::engine::cuda {
namespace {

using emulation::Launch;
using emulation::Schedule;
using testing::FloatNear;
using testing::Pointwise;

constexpr int kRows = 3;

static_assert(static_cast<int>(WeightType::kF32) == static_cast<int>(ElementType::kF32) &&
              static_cast<int>(WeightType::kBF16) == static_cast<int>(ElementType::kBF16) &&
              static_cast<int>(WeightType::kF16) == static_cast<int>(ElementType::kF16));
static_assert(static_cast<int>(ActivationKind::kSiluMul) ==
                  static_cast<int>(Activation::kSiluMul) &&
              static_cast<int>(ActivationKind::kRelu) == static_cast<int>(Activation::kRelu));
static_assert(kRopePagePositions == RopeTable::kPagePositions);

std::vector<float> Random(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> numbers(count);
  for (float& x : numbers) x = 2 * normal(random);
  return numbers;
}

std::vector<float> Poison(size_t count) {
  return std::vector<float>(count, std::numeric_limits<float>::quiet_NaN());
}

Activations RowsOf(std::vector<float>& x, int64_t rows = kRows) {
  return {x.data(), rows, static_cast<int64_t>(x.size()) / rows};
}

void RunKernel(const LaunchShape& shape, const Schedule& schedule,
               absl::FunctionRef<void()> kernel) {
  const absl::Status status =
      Launch({shape.grid_x, shape.grid_y, shape.threads, shape.shared_bytes}, schedule, kernel);
  EXPECT_TRUE(status.ok()) << status;
}

void ExpectNarrowed(const std::vector<float>& out, const std::vector<uint16_t>& narrowed) {
  std::vector<uint16_t> expected(out.size());
  NarrowToBF16(out.data(), static_cast<int64_t>(out.size()), expected.data());
  EXPECT_EQ(narrowed, expected);
}

TEST(RowKernelsTest, NumbersAreNarrowedToTheEnd) {
  for (const int64_t count : {1, 3, 4, 1022, 1024, 2051}) {
    const std::vector<float> x = Random(count, 8);
    const auto outputs = OnAllSchedules<uint16_t>([&](const Schedule& schedule) {
      std::vector<uint16_t> narrowed(count + 1, 0xFFFF);
      const NarrowParams params = {x.data(), narrowed.data(), count};
      RunKernel(NarrowShape(count), schedule, [&] { NarrowBlock(params); });
      EXPECT_EQ(narrowed.back(), 0xFFFF) << "wrote behind the last";
      narrowed.pop_back();
      return narrowed;
    });
    EXPECT_TRUE(AreSame(outputs));
    ExpectNarrowed(x, outputs[0]);
  }
}

TEST(RowKernelsTest, EmbeddingsAreTheCpus) {
  constexpr int kCols = 301;
  const std::vector<uint32_t> ids = {4, 0, 4};
  const std::vector<int32_t> positions = {4, 0, 4};
  const auto backend = NewCpuBackend(1);
  std::vector<uint16_t> narrow(5 * kCols);
  const std::vector<float> wide = Random(5 * kCols, 1);
  NarrowToF16(wide.data(), 5 * kCols, narrow.data());
  const struct {
    const void* table;
    ElementType type;
  } tables[] = {{wide.data(), ElementType::kF32},
                {narrow.data(), ElementType::kF16},
                {narrow.data(), ElementType::kBF16}};
  for (const auto& [table, type] : tables) {
    const TensorView view = {table, type, 5, kCols};
    std::vector<float> expected = Poison(kRows * kCols);
    const SequenceRows sequences[] = {{0, 1, 4}, {1, 1, 0}, {2, 1, 4}};
    ASSERT_TRUE(backend->BeginStep({.ids = ids, .sequences = sequences}).ok());
    backend->Embed(view, 1.7f, RowsOf(expected));
    backend->AddPositions(view, RowsOf(expected));
    std::vector<float> out = Poison(kRows * kCols);
    EmbedParams params;
    params.table = table;
    params.type = static_cast<WeightType>(type);
    params.ids = positions.data();
    params.scale = 1.7f;
    params.out = out.data();
    params.cols = kCols;
    RunKernel(RowShape(kRows), {}, [&] { EmbedBlock(params); });
    params.scale = 1;
    params.add = true;
    RunKernel(RowShape(kRows), {}, [&] { EmbedBlock(params); });
    EXPECT_EQ(out, expected);
  }
}

TEST(RowKernelsTest, NormsAgreeWithTheCpu) {
  const auto backend = NewCpuBackend(1);
  for (const int cols : {4, 132, 2052}) {
    std::vector<float> weight = Random(cols, 2);
    std::vector<float> bias = Random(cols, 3);
    std::vector<float> y = Random(kRows * cols, 5);
    for (const bool is_layer_norm : {false, true}) {
      std::vector<float> x = Random(kRows * cols, 4);
      for (float& value : x) value += 3;
      std::vector<float> sum = x;
      backend->Add(RowsOf(sum), RowsOf(y));
      std::vector<float> expected = Poison(x.size());
      const TensorView w = {weight.data(), ElementType::kF32, 1, cols};
      const TensorView b = {bias.data(), ElementType::kF32, 1, cols};
      is_layer_norm ? backend->LayerNorm(RowsOf(sum), w, b, 1e-5f, RowsOf(expected))
                    : backend->RmsNorm(RowsOf(sum), w, 1e-5f, RowsOf(expected));
      const auto outputs = OnAllSchedules<float>([&](const Schedule& schedule) {
        std::vector<float> in_place = x;
        std::vector<float> out = Poison(x.size());
        std::vector<uint16_t> narrowed(x.size());
        NormParams params;
        params.x = in_place.data();
        params.sum = in_place.data();
        params.y = y.data();
        params.weight = weight.data();
        params.bias = is_layer_norm ? bias.data() : nullptr;
        params.epsilon = 1e-5f;
        params.out = out.data();
        params.narrowed = narrowed.data();
        params.cols = cols;
        RunKernel(RowShape(kRows), schedule, [&] { NormBlock(params); });
        EXPECT_EQ(in_place, sum);
        ExpectNarrowed(out, narrowed);
        return out;
      });
      EXPECT_TRUE(AreSame(outputs));
      EXPECT_THAT(outputs[0], Pointwise(FloatNear(2e-5f), expected));
    }
  }
}

TEST(RowKernelsTest, ActivationsAgreeWithTheCpu) {
  constexpr int kCols = 1028;
  const auto backend = NewCpuBackend(1);
  for (const Activation activation :
       {Activation::kSiluMul, Activation::kGeluTanhMul, Activation::kGeluTanh, Activation::kGeluErf,
        Activation::kRelu}) {
    const bool multiplies =
        activation == Activation::kSiluMul || activation == Activation::kGeluTanhMul;
    std::vector<float> x = Random(kRows * kCols * (multiplies ? 2 : 1), 6);
    x[0] = -200;
    x[1] = 200;
    x[2] = 0;
    std::vector<float> expected = Poison(kRows * kCols);
    backend->Activate(activation, RowsOf(x), RowsOf(expected));
    std::vector<float> out = Poison(expected.size());
    std::vector<uint16_t> narrowed(out.size());
    ActivationParams params;
    params.kind = static_cast<ActivationKind>(activation);
    params.x = x.data();
    params.out = out.data();
    params.narrowed = narrowed.data();
    params.cols = kCols;
    RunKernel(RowShape(kRows), {}, [&] { ActivationBlock(params); });
    for (size_t i = 0; i < out.size(); ++i) {
      ASSERT_NEAR(out[i], expected[i], 1e-6 + 2e-6 * std::fabs(expected[i]))
          << static_cast<int>(activation) << " of " << i;
    }
    ExpectNarrowed(out, narrowed);
  }
}

// Three rows of two sequences, in blocks of an arena; every KV format.
class RopeAppendTest : public testing::TestWithParam<cachestore::DType> {
 protected:
  static constexpr int kHeads = 5, kKvHeads = 2, kHeadDim = 34, kUnits = 14;
  static constexpr int kAllHeads = kHeads + 2 * kKvHeads;

  RopeAppendTest() {
    layout_.num_layers = 2;
    layout_.num_kv_heads = kKvHeads;
    layout_.head_dim = kHeadDim;
    layout_.block_tokens = 4;
    layout_ = WithDType(layout_, GetParam());
    CHECK(layout_.BytesPerBlock() <= 2 * kBlockUnit);
    CHECK(rope_.Cover(1100).ok());
    pages_ = {rope_.cosines(0), rope_.cosines(RopeTable::kPagePositions)};
  }

  // Rotates the heads of kRows rows, each product and sum rounded: the CPU's compiler may fuse
  // them.
  void Rotate(std::vector<float>& x) const {
    constexpr int kHalf = kRotaryDim / 2;
    const size_t cols = x.size() / kRows;
    for (size_t begin = 0; begin < x.size(); begin += kHeadDim) {
      const int position = kPositions[begin / cols];
      for (int i = 0; i < kHalf; ++i) {
        const float a = x[begin + i];
        const float b = x[begin + kHalf + i];
        const float c = rope_.cosines(position)[i];
        const float s = rope_.sines(position)[i];
        x[begin + i] = a * c - b * s;
        x[begin + kHalf + i] = b * c + a * s;
      }
    }
  }

  // The arena after rotation (when `rotate`) and the CPU's AppendKvRows; and q.
  std::vector<uint8_t> OnCpu(std::vector<float> qkv, bool rotate, std::vector<float>* q) {
    std::vector<float> k, v;
    for (int r = 0; r < kRows; ++r) {
      const float* row = qkv.data() + r * kAllHeads * kHeadDim;
      q->insert(q->end(), row, row + kHeads * kHeadDim);
      k.insert(k.end(), row + kHeads * kHeadDim, row + (kHeads + kKvHeads) * kHeadDim);
      v.insert(v.end(), row + (kHeads + kKvHeads) * kHeadDim, row + kAllHeads * kHeadDim);
    }
    if (rotate) {
      Rotate(*q);
      Rotate(k);
    }
    std::vector<uint8_t> arena(kUnits * kBlockUnit, 0xEE);
    // Position 1,030 of the second sequence is in its block 257, the only one that there is.
    const auto at = [&](int unit) {
      return reinterpret_cast<std::byte*>(&arena[unit * kBlockUnit]);
    };
    std::vector<std::byte*> first = {at(10)};
    std::vector<std::byte*> second(258, nullptr);
    second[257] = at(4);
    const SequenceRows rows[] = {{0, 2, 2, first}, {2, 1, 1030, second}};
    AppendKvRows(RowsOf(k), RowsOf(v), rows, layout_, 1);
    return arena;
  }

  std::vector<uint8_t> OnEmulation(const std::vector<float>& qkv, bool rotate,
                                   const Schedule& schedule, std::vector<float>* q) {
    std::vector<uint8_t> arena(kUnits * kBlockUnit, 0xEE);
    std::vector<uint32_t> table(2 * 258, 0xFFFFFFF0u);
    table[0] = 10;
    table[258 + 257] = 4;
    const std::vector<AttentionRow> rows = {{0, 3}, {0, 4}, {1, 1031}};
    *q = Poison(kRows * kHeads * kHeadDim);
    RopeAppendParams params;
    params.qkv = qkv.data();
    params.q = q->data();
    params.kv = DescribeKv(layout_, 1, arena.data(), table.data(), 258);
    params.rows = rows.data();
    params.heads = kHeads;
    params.rotary_dim = rotate ? kRotaryDim : 0;
    params.rope_pages = pages_.data();
    params.q_norm = q_norm_.empty() ? nullptr : q_norm_.data();
    params.k_norm = k_norm_.empty() ? nullptr : k_norm_.data();
    params.epsilon = 1e-6f;
    RunKernel(RopeAppendShape(kRows, kHeads, kKvHeads, kHeadDim), schedule,
              [&] { RopeAppendBlock(params); });
    return arena;
  }

  static constexpr int kRotaryDim = 22;
  static constexpr int32_t kPositions[kRows] = {2, 3, 1030};
  cachestore::KvLayout layout_;
  RopeTable rope_{kRotaryDim, RopeScheme{}};
  std::vector<const float*> pages_;
  std::vector<float> q_norm_, k_norm_;
};

TEST_P(RopeAppendTest, BytesAndQueriesAreTheCpus) {
  const std::vector<float> qkv = Random(kRows * kAllHeads * kHeadDim, 9);
  for (const bool rotate : {false, true}) {
    std::vector<float> expected_q;
    const std::vector<uint8_t> expected = OnCpu(qkv, rotate, &expected_q);
    if (rotate) {
      std::vector<float> cpus_q;
      OnCpu(qkv, false, &cpus_q);
      RotateRows(RowsOf(cpus_q), kHeadDim, rope_, kPositions);
      EXPECT_THAT(expected_q, Pointwise(FloatNear(1e-5f), cpus_q));
    }
    for (const Schedule& schedule : AllSchedules()) {
      std::vector<float> q;
      EXPECT_EQ(OnEmulation(qkv, rotate, schedule, &q), expected);
      EXPECT_EQ(q, expected_q);
    }
  }
}

// Of f32: the norm's sum is taken in another order, which no rounding may hide.
class RopeNormTest : public RopeAppendTest {};

// Heads of q and k are normalized before they are rotated, heads of v are not.
TEST_P(RopeNormTest, HeadsAreNormalizedFirst) {
  q_norm_ = Random(kHeadDim, 10);
  k_norm_ = Random(kHeadDim, 11);
  std::vector<float> qkv = Random(kRows * kAllHeads * kHeadDim, 12);
  std::vector<float> q;
  const std::vector<uint8_t> arena = OnEmulation(qkv, true, {}, &q);
  const auto backend = NewCpuBackend(1);
  for (int h = 0; h < kRows * kAllHeads; ++h) {
    const int head = h % kAllHeads;
    if (head >= kHeads + kKvHeads) continue;
    std::vector<float>& norm = head < kHeads ? q_norm_ : k_norm_;
    const Activations one = {qkv.data() + h * kHeadDim, 1, kHeadDim};
    backend->RmsNorm(one, {norm.data(), ElementType::kF32, 1, kHeadDim}, 1e-6f, one);
  }
  std::vector<float> expected_q;
  const std::vector<uint8_t> expected = OnCpu(qkv, true, &expected_q);
  EXPECT_THAT(q, Pointwise(FloatNear(1e-5f), expected_q));
  for (size_t i = 0; i + 4 <= arena.size(); i += 4) {
    float actual;
    float wanted;
    std::memcpy(&actual, &arena[i], 4);
    std::memcpy(&wanted, &expected[i], 4);
    if (std::memcmp(&arena[i], &expected[i], 4) == 0) continue;  // NaN where nothing was written
    ASSERT_NEAR(actual, wanted, 1e-5);
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, RopeAppendTest, testing::ValuesIn(cachestore::kAllDTypes),
                         [](const auto& info) {
                           return std::string(cachestore::DTypeName(info.param));
                         });

INSTANTIATE_TEST_SUITE_P(F32, RopeNormTest, testing::Values(cachestore::DType::kF32));

}  // namespace
}  // namespace reprise::engine::cuda
