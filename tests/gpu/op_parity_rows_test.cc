// Kernels over rows of activations through their launchers against the CPU backend: fresh random
// numbers, poisoned outputs. As op_parity_attention_test.cc: Small tests run on the emulation too.
#include <gmock/gmock.h>
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "cachestore/base/check.h"
#include "engine/backend/backend.h"
#include "engine/backend/cpu_elementwise.h"
#include "engine/backend/cuda/kernels/launchers.h"
#include "engine/backend/cuda/kv_description.h"
#include "engine/backend/kv_format.h"
#include "engine/backend/kv_rows.h"
#include "engine/backend/rope_table.h"
#include "tests/fakes/test_seed.h"
#include "tests/gpu/kernel_bed.h"

namespace reprise::engine::cuda {
namespace {

using cachestore::DType;
using cachestore::KvLayout;

// |actual - expected| / |expected|; infinite where something is not a number.
double RelativeError(const std::vector<float>& actual, const std::vector<float>& expected) {
  double difference = 0;
  double size = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference += (double{actual[i]} - expected[i]) * (double{actual[i]} - expected[i]);
    size += double{expected[i]} * expected[i];
  }
  const double error = std::sqrt(difference / size);
  return actual.size() != expected.size() || std::isnan(error) ? INFINITY : error;
}

class OpParityRowsTest : public KernelTest {
 protected:
  static constexpr double kTolerance = 1e-5;

  std::vector<float> Random(size_t count) {
    std::normal_distribution<float> normal;
    std::vector<float> numbers(count);
    for (float& x : numbers) x = 2 * normal(random_);
    return numbers;
  }
  static Activations Rows(std::vector<float>& x, int64_t rows) {
    return {x.data(), rows, static_cast<int64_t>(x.size()) / rows};
  }
  static void ExpectNarrowed(const std::vector<float>& out, const std::vector<uint16_t>& narrowed) {
    std::vector<uint16_t> expected(out.size());
    NarrowToBF16(out.data(), static_cast<int64_t>(out.size()), expected.data());
    EXPECT_EQ(narrowed, expected);
  }

  void ExpectEmbeddingsAgree(int rows, int vocab, int cols);
  void ExpectNormsAgree(int rows, int cols);
  void ExpectActivationsAgree(int rows, int cols);

  std::mt19937 random_{TestSeed()};
  const std::unique_ptr<Backend> cpu_ = NewCpuBackend(0);
};

void OpParityRowsTest::ExpectEmbeddingsAgree(int rows, int vocab, int cols) {
  std::vector<uint32_t> ids(rows);
  for (uint32_t& id : ids) id = random_() % vocab;
  const std::vector<float> wide = Random(size_t(vocab) * cols);
  std::vector<uint16_t> f16(wide.size());
  std::vector<uint16_t> bf16(wide.size());
  NarrowToF16(wide.data(), static_cast<int64_t>(wide.size()), f16.data());
  NarrowToBF16(wide.data(), static_cast<int64_t>(wide.size()), bf16.data());
  const auto device_ids = bed().Put(std::vector<int32_t>(ids.begin(), ids.end()));
  const struct {
    const void* host;
    const void* device;
    ElementType type;
  } tables[] = {{wide.data(), bed().Put(wide).data, ElementType::kF32},
                {bf16.data(), bed().Put(bf16).data, ElementType::kBF16},
                {f16.data(), bed().Put(f16).data, ElementType::kF16}};
  for (const auto& [host, device, type] : tables) {
    std::vector<float> expected(size_t(rows) * cols);
    ASSERT_TRUE(cpu_->BeginStep({.ids = ids}).ok());
    cpu_->Embed({host, type, vocab, cols}, 1.7f, Rows(expected, rows));
    const auto out = bed().Poisoned<float>(expected.size());
    EmbedParams params;
    params.table = device;
    params.type = static_cast<WeightType>(type);
    params.ids = device_ids.data;
    params.scale = 1.7f;
    params.out = out.data;
    params.cols = cols;
    EXPECT_EQ(LaunchEmbed(params, rows, bed().stream()), cudaSuccess);
    EXPECT_EQ(bed().Get(out), expected);
  }
}

void OpParityRowsTest::ExpectNormsAgree(int rows, int cols) {
  const size_t size = size_t(rows) * cols;
  const std::vector<float> weight = Random(cols);
  const std::vector<float> bias = Random(cols);
  std::vector<float> y = Random(size);
  for (const bool is_layer_norm : {false, true}) {
    const std::vector<float> x = Random(size);
    std::vector<float> sum = x;
    cpu_->Add(Rows(sum, rows), Rows(y, rows));
    std::vector<float> expected(size);
    const TensorView w = {weight.data(), ElementType::kF32, 1, cols};
    const TensorView b = {bias.data(), ElementType::kF32, 1, cols};
    is_layer_norm ? cpu_->LayerNorm(Rows(sum, rows), w, b, 1e-5f, Rows(expected, rows))
                  : cpu_->RmsNorm(Rows(sum, rows), w, 1e-5f, Rows(expected, rows));
    const auto in_place = bed().Put(x);
    const auto out = bed().Poisoned<float>(size);
    const auto narrowed = bed().Poisoned<uint16_t>(size);
    NormParams params;
    params.x = in_place.data;
    params.sum = in_place.data;
    params.y = bed().Put(y).data;
    params.weight = bed().Put(weight).data;
    params.bias = is_layer_norm ? bed().Put(bias).data : nullptr;
    params.epsilon = 1e-5f;
    params.out = out.data;
    params.narrowed = narrowed.data;
    params.cols = cols;
    EXPECT_EQ(LaunchNorm(params, rows, bed().stream()), cudaSuccess);
    EXPECT_EQ(bed().Get(in_place), sum);
    EXPECT_LE(RelativeError(bed().Get(out), expected), kTolerance);
    ExpectNarrowed(bed().Get(out), bed().Get(narrowed));
  }
}

void OpParityRowsTest::ExpectActivationsAgree(int rows, int cols) {
  for (const Activation activation :
       {Activation::kSiluMul, Activation::kGeluTanhMul, Activation::kGeluTanh, Activation::kGeluErf,
        Activation::kRelu}) {
    const bool multiplies =
        activation == Activation::kSiluMul || activation == Activation::kGeluTanhMul;
    std::vector<float> x = Random(size_t(rows) * cols * (multiplies ? 2 : 1));
    x[0] = -200;
    x[1] = 200;
    std::vector<float> expected(size_t(rows) * cols);
    cpu_->Activate(activation, Rows(x, rows), Rows(expected, rows));
    const auto out = bed().Poisoned<float>(expected.size());
    const auto narrowed = bed().Poisoned<uint16_t>(expected.size());
    ActivationParams params;
    params.kind = static_cast<ActivationKind>(activation);
    params.x = bed().Put(x).data;
    params.out = out.data;
    params.narrowed = narrowed.data;
    params.cols = cols;
    EXPECT_EQ(LaunchActivation(params, rows, bed().stream()), cudaSuccess);
    EXPECT_LE(RelativeError(bed().Get(out), expected), kTolerance) << static_cast<int>(activation);
    ExpectNarrowed(bed().Get(out), bed().Get(narrowed));
  }
}

TEST_F(OpParityRowsTest, SmallEmbeddings) { ExpectEmbeddingsAgree(3, 5, 301); }
TEST_F(OpParityRowsTest, SmallNorms) {
  for (const int cols : {4, 132, 2052}) ExpectNormsAgree(3, cols);
}
TEST_F(OpParityRowsTest, SmallActivations) { ExpectActivationsAgree(3, 1028); }

// What the checks above would say of wrong numbers, and of those that were not written.
TEST_F(OpParityRowsTest, SmallWrongResultsAreSeen) {
  const std::vector<float> right = Random(1000);
  std::vector<float> wrong = right;
  EXPECT_EQ(RelativeError(wrong, right), 0);
  wrong[999] += 0.01f;
  EXPECT_GT(RelativeError(wrong, right), kTolerance);
  const auto unwritten = bed().Poisoned<float>(right.size());
  EXPECT_EQ(RelativeError(bed().Get(unwritten), right), INFINITY);
  // An array of 999, of which a kernel wrote 1,000.
  const auto longer = bed().Put(right);
  EXPECT_NONFATAL_FAILURE(bed().Get(KernelBed::Array<float>{longer.data, 999}), "behind the end");
}

// Rows 0 .. of qkv, each of a sequence of its own, of which only the block that the row falls into
// is anywhere.
class OpParityAppendTest : public OpParityRowsTest {
 protected:
  struct Shape {
    KvLayout layout;
    int heads;
    int rotary_dim;  // 0: rows are not rotated
    std::vector<int32_t> positions;
  };
  static Shape ShapeOf(DType dtype, int heads, int kv_heads, int head_dim, int rotary_dim,
                       std::vector<int32_t> positions) {
    KvLayout layout;
    layout.num_layers = 2;
    layout.num_kv_heads = kv_heads;
    layout.head_dim = head_dim;
    layout.block_tokens = 16;
    return {WithDType(layout, dtype), heads, rotary_dim, std::move(positions)};
  }

  // Blocks in an arena, and q.
  struct Appended {
    std::vector<uint8_t> arena;
    std::vector<float> q;
  };
  Appended ByKernel(const Shape& shape, const std::vector<float>& qkv);
  Appended ByCpu(const Shape& shape, const std::vector<float>& qkv);

  // From equal k and v the bytes are equal.
  void ExpectBytesAreTheCpus(const Shape& shape) {
    SCOPED_TRACE(cachestore::DTypeName(shape.layout.dtype));
    const std::vector<float> qkv = Random(shape.positions.size() * RowFloats(shape));
    const Appended expected = ByCpu(shape, qkv);
    const Appended actual = ByKernel(shape, qkv);
    EXPECT_EQ(actual.q, expected.q);
    EXPECT_EQ(actual.arena, expected.arena);
  }
  // Of f32: rotation may round another way than the CPU's, which may fuse products and sums.
  void ExpectRotationAgrees(const Shape& shape) {
    ASSERT_EQ(shape.layout.dtype, DType::kF32);
    const std::vector<float> qkv = Random(shape.positions.size() * RowFloats(shape));
    const Appended expected = ByCpu(shape, qkv);
    const Appended actual = ByKernel(shape, qkv);
    EXPECT_LE(RelativeError(actual.q, expected.q), kTolerance);
    EXPECT_NE(actual.q, ByCpu({shape.layout, shape.heads, 0, shape.positions}, qkv).q);
    ASSERT_EQ(actual.arena.size(), expected.arena.size());
    for (size_t i = 0; i < actual.arena.size(); i += sizeof(float)) {
      float a = 0;
      float b = 0;
      std::memcpy(&a, &actual.arena[i], sizeof(a));
      std::memcpy(&b, &expected.arena[i], sizeof(b));
      ASSERT_NEAR(a, b, 1e-5 * std::max(1.0f, std::fabs(b))) << "byte " << i;
    }
  }

 private:
  static constexpr uint8_t kUntouched = 0xEE;

  static size_t RowFloats(const Shape& shape) {
    return size_t(shape.heads + 2 * shape.layout.num_kv_heads) * shape.layout.head_dim;
  }
  // The block of row r lies at unit r of this many bytes: places 1, 3, ... stay untouched.
  static uint32_t Units(const Shape& shape) {
    return static_cast<uint32_t>((shape.layout.BytesPerBlock() + kBlockUnit - 1) / kBlockUnit);
  }
  static size_t PlaceOf(const Shape& shape, size_t row) {
    return (2 * row + 1) * Units(shape) * kBlockUnit;
  }
  static std::vector<uint8_t> UntouchedArena(const Shape& shape) {
    return std::vector<uint8_t>(PlaceOf(shape, shape.positions.size()), kUntouched);
  }
  static int TableStride(const Shape& shape) {
    return *std::max_element(shape.positions.begin(), shape.positions.end()) /
               shape.layout.block_tokens +
           1;
  }
};

OpParityAppendTest::Appended OpParityAppendTest::ByKernel(const Shape& shape,
                                                          const std::vector<float>& qkv) {
  const int rows = static_cast<int>(shape.positions.size());
  const int stride = TableStride(shape);
  std::vector<uint32_t> table(size_t(rows) * stride, 0xFFFFFFF0u);
  std::vector<AttentionRow> lengths;
  for (int r = 0; r < rows; ++r) {
    table[size_t(r) * stride + shape.positions[r] / shape.layout.block_tokens] =
        static_cast<uint32_t>(PlaceOf(shape, r) / kBlockUnit);
    lengths.push_back({r, shape.positions[r] + 1});
  }
  std::vector<const float*> pages;
  if (shape.rotary_dim > 0) {
    RopeTable rope(shape.rotary_dim, RopeScheme{});
    CHECK(rope.Cover(int64_t{stride} * shape.layout.block_tokens).ok());
    for (int64_t at = 0; at < rope.num_positions(); at += kRopePagePositions) {
      const float* page = rope.cosines(at);
      const std::vector<float> numbers(page, page + kRopePagePositions * shape.rotary_dim);
      pages.push_back(bed().Put(numbers).data);
    }
  }
  const auto arena = bed().Put(UntouchedArena(shape));
  const auto q = bed().Poisoned<float>(size_t(rows) * shape.heads * shape.layout.head_dim);
  RopeAppendParams params;
  params.qkv = bed().Put(qkv).data;
  params.q = q.data;
  params.kv = DescribeKv(shape.layout, 1, arena.data, bed().Put(table).data, stride);
  params.rows = bed().Put(lengths).data;
  params.heads = shape.heads;
  params.rotary_dim = shape.rotary_dim;
  params.rope_pages = bed().Put(pages).data;
  EXPECT_EQ(LaunchRopeAppend(params, rows, bed().stream()), cudaSuccess);
  return {bed().Get(arena), bed().Get(q)};
}

OpParityAppendTest::Appended OpParityAppendTest::ByCpu(const Shape& shape,
                                                       const std::vector<float>& qkv) {
  const auto rows = static_cast<int64_t>(shape.positions.size());
  const int64_t head_dim = shape.layout.head_dim;
  Appended appended = {UntouchedArena(shape), {}};
  std::vector<float> k, v;
  for (auto row = qkv.begin(); row < qkv.end(); row += RowFloats(shape)) {
    const auto row_k = row + shape.heads * head_dim;
    const auto row_v = row_k + shape.layout.num_kv_heads * head_dim;
    appended.q.insert(appended.q.end(), row, row_k);
    k.insert(k.end(), row_k, row_v);
    v.insert(v.end(), row_v, row_v + shape.layout.num_kv_heads * head_dim);
  }
  if (shape.rotary_dim > 0) {
    RopeTable rope(shape.rotary_dim, RopeScheme{});
    CHECK(rope.Cover(int64_t{TableStride(shape)} * shape.layout.block_tokens).ok());
    RotateRows(Rows(appended.q, rows), head_dim, rope, shape.positions);
    RotateRows(Rows(k, rows), head_dim, rope, shape.positions);
  }
  std::vector<std::vector<std::byte*>> blocks(rows);
  std::vector<SequenceRows> sequences;
  for (int64_t r = 0; r < rows; ++r) {
    blocks[r].assign(TableStride(shape), nullptr);
    blocks[r][shape.positions[r] / shape.layout.block_tokens] =
        reinterpret_cast<std::byte*>(&appended.arena[PlaceOf(shape, r)]);
    sequences.push_back({r, 1, shape.positions[r], blocks[r]});
  }
  AppendKvRows(Rows(k, rows), Rows(v, rows), sequences, shape.layout, 1);
  return appended;
}

TEST_F(OpParityAppendTest, Small) {
  const std::vector<int32_t> positions = {2, 19, 1030};
  for (const DType dtype : cachestore::kAllDTypes) {
    ExpectBytesAreTheCpus(ShapeOf(dtype, 5, 2, 34, 0, positions));
  }
  ExpectRotationAgrees(ShapeOf(DType::kF32, 5, 2, 34, 22, positions));
}

// Shapes of real models, on a card.
class OpParityLargeRowsTest : public OpParityAppendTest {
 protected:
  void SetUp() override {
    if (KernelsAreEmulated()) GTEST_SKIP() << "too large for the emulation";
    OpParityAppendTest::SetUp();
  }

  std::vector<int32_t> Positions(size_t count, int most) {
    std::vector<int32_t> positions(count);
    for (int32_t& position : positions) position = static_cast<int32_t>(random_() % most);
    return positions;
  }
};

TEST_F(OpParityLargeRowsTest, Embeddings) { ExpectEmbeddingsAgree(2048, 20'000, 896); }
TEST_F(OpParityLargeRowsTest, Norms) {
  ExpectNormsAgree(2048, 4096);
  ExpectNormsAgree(1, 16'384);
}
TEST_F(OpParityLargeRowsTest, Activations) { ExpectActivationsAgree(512, 14'336); }
TEST_F(OpParityLargeRowsTest, Append) {
  for (const DType dtype : cachestore::kAllDTypes) {
    ExpectBytesAreTheCpus(ShapeOf(dtype, 32, 8, 128, 0, Positions(256, 4096)));
  }
  ExpectRotationAgrees(ShapeOf(DType::kF32, 32, 8, 128, 128, Positions(256, 100'000)));
}

}  // namespace
}  // namespace reprise::engine::cuda
