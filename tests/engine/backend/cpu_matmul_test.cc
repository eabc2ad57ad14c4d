// MatMul of the CPU backend: values, and the row contract of backend.h bit for bit.

#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "engine/backend/backend.h"
#include "gtest/gtest.h"

namespace reprise::engine {
namespace {

constexpr int64_t kMaxRows = 310;

uint16_t ToBF16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

float FromBF16(uint16_t value) {
  const uint32_t bits = uint32_t{value} << 16;
  float result;
  std::memcpy(&result, &bits, sizeof(result));
  return result;
}

// A weight as a checkpoint stores it, and the numbers it means.
struct Weight {
  Weight(int64_t in, int64_t out, ElementType type, WeightOrder order, uint32_t seed)
      : in(in), out(out), order(order) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
    values.resize(in * out);
    for (float& value : values) {
      value = uniform(random);
      if (type == ElementType::kBF16) {
        halves.push_back(ToBF16(value));
        value = FromBF16(halves.back());
      }
    }
    const bool out_in = order == WeightOrder::kOutIn;
    view.data =
        type == ElementType::kBF16 ? static_cast<const void*>(halves.data()) : values.data();
    view.type = type;
    view.rows = out_in ? out : in;
    view.cols = out_in ? in : out;
  }

  float at(int64_t k, int64_t n) const {
    return order == WeightOrder::kOutIn ? values[n * in + k] : values[k * out + n];
  }

  int64_t in, out;
  WeightOrder order;
  std::vector<float> values;
  std::vector<uint16_t> halves;
  TensorView view;
};

std::vector<float> RandomFloats(int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
  std::vector<float> values(count);
  for (float& value : values) value = uniform(random);
  return values;
}

// Rows [first, first + rows) of x through `weight`.
std::vector<float> Multiply(Backend& backend, const PackedWeight& weight, std::vector<float>& x,
                            int64_t first, int64_t rows, TensorView bias) {
  std::vector<float> out(rows * weight.out_features(), -1.0f);
  backend.MatMul({x.data() + first * weight.in_features(), rows, weight.in_features()}, weight,
                 bias, {out.data(), rows, weight.out_features()});
  return out;
}

struct MatMulCase {
  int64_t in, out;
};

class CpuMatMulTest : public ::testing::TestWithParam<ElementType> {};

// Rows whose product with a call of `rows` rows, at several places of x, differs from `whole`.
int64_t CountDifferingRows(Backend& backend, const PackedWeight& weight, std::vector<float>& x,
                           TensorView bias, const std::vector<float>& whole, int64_t rows) {
  int64_t differing = 0;
  for (const int64_t first : {int64_t{0}, int64_t{5}, kMaxRows - rows}) {
    if (first + rows > kMaxRows) continue;
    const std::vector<float> part = Multiply(backend, weight, x, first, rows, bias);
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t out = weight.out_features();
      differing += std::memcmp(part.data() + r * out, whole.data() + (first + r) * out,
                               out * sizeof(float)) != 0;
    }
  }
  return differing;
}

TEST_P(CpuMatMulTest, ARowHasTheSameBitsWhateverTheNumberOfRows) {
  const std::vector<MatMulCase> cases = {{768, 2304}, {768, 3072}, {3072, 768}, {896, 4864},
                                         {4864, 896}, {2048, 512}, {64, 64},    {48, 48},
                                         {64, 192},   {192, 64},   {97, 131},   {33, 17},
                                         {127, 1},    {1, 127},    {1030, 70}};
  const std::unique_ptr<Backend> backend = NewCpuBackend(2);
  for (const MatMulCase& shape : cases) {
    SCOPED_TRACE(::testing::Message() << shape.in << " x " << shape.out);
    const Weight weight(shape.in, shape.out, GetParam(), WeightOrder::kOutIn, 1);
    auto packed = backend->Pack(weight.view, weight.order);
    ASSERT_TRUE(packed.ok()) << packed.status();
    std::vector<float> x = RandomFloats(kMaxRows * shape.in, 2);
    const std::vector<float> bias = RandomFloats(shape.out, 3);
    const TensorView bias_view{bias.data(), ElementType::kF32, 1, shape.out};
    const std::vector<float> whole = Multiply(*backend, **packed, x, 0, kMaxRows, bias_view);
    for (const int64_t rows : {1, 2, 3, 5, 7, 16, 17, 31, 64, 65, 100, 129, 257, 300}) {
      EXPECT_EQ(CountDifferingRows(*backend, **packed, x, bias_view, whole, rows), 0)
          << rows << " rows";
    }
    // The comparison can fail: a last bit of one input is seen in its row, and in no other.
    if (shape.in < 64 || shape.out < 48) continue;
    x[0] = FromBF16(ToBF16(x[0]) + 1);
    EXPECT_EQ(CountDifferingRows(*backend, **packed, x, bias_view, whole, 17), 1);
  }
}

TEST_P(CpuMatMulTest, AgreesWithDoublePrecision) {
  const std::vector<MatMulCase> cases = {{768, 96}, {3072, 50}, {97, 131},
                                         {1, 3},    {5, 1},     {64, 64}};
  const std::unique_ptr<Backend> backend = NewCpuBackend(2);
  for (const MatMulCase& shape : cases) {
    for (const WeightOrder order : {WeightOrder::kOutIn, WeightOrder::kInOut}) {
      for (const bool with_bias : {true, false}) {
        const Weight weight(shape.in, shape.out, GetParam(), order, 4);
        auto packed = backend->Pack(weight.view, order);
        ASSERT_TRUE(packed.ok()) << packed.status();
        EXPECT_EQ((*packed)->in_features(), shape.in);
        EXPECT_EQ((*packed)->out_features(), shape.out);
        std::vector<float> x = RandomFloats(20 * shape.in, 5);
        const std::vector<float> bias = RandomFloats(shape.out, 6);
        TensorView bias_view;
        if (with_bias) bias_view = {bias.data(), ElementType::kF32, 1, shape.out};
        const std::vector<float> out = Multiply(*backend, **packed, x, 0, 20, bias_view);
        // bf16 weights may be multiplied by inputs rounded to bf16: 2^-9 of each product.
        const double tolerance = GetParam() == ElementType::kBF16 ? 4e-3 : 1e-6;
        for (int64_t r = 0; r < 20; ++r) {
          for (int64_t n = 0; n < shape.out; ++n) {
            double expected = with_bias ? bias[n] : 0.0;
            double size = std::abs(expected);
            for (int64_t k = 0; k < shape.in; ++k) {
              const double product = double{x[r * shape.in + k]} * weight.at(k, n);
              expected += product;
              size += std::abs(product);
            }
            ASSERT_NEAR(out[r * shape.out + n], expected, tolerance * size + 1e-30)
                << "row " << r << ", column " << n << " of " << shape.in << " x " << shape.out;
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, CpuMatMulTest,
                         ::testing::Values(ElementType::kF32, ElementType::kBF16),
                         [](const auto& info) {
                           return info.param == ElementType::kF32 ? "F32" : "BF16";
                         });

}  // namespace
}  // namespace reprise::engine
