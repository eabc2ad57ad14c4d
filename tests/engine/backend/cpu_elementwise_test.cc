// The row-wise operations of the CPU backend against double precision.

#include "engine/backend/cpu_elementwise.h"

#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/backend/rope_table.h"
#include "gtest/gtest.h"
#include "tests/engine/backend/vector_target.h"

namespace reprise::engine {
namespace {

// Whole vectors, tails, and a single element.
const int64_t kWidths[] = {1, 7, 16, 48, 64, 97, 768};

std::vector<float> RandomFloats(int64_t count, uint32_t seed, float spread = 1.0f) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-spread, spread);
  std::vector<float> values(count);
  for (float& value : values) value = uniform(random);
  return values;
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TensorView ViewOf(const std::vector<float>& values, int64_t rows) {
  return {values.data(), ElementType::kF32, rows, static_cast<int64_t>(values.size()) / rows};
}

Activations Rows(std::vector<float>& values, int64_t rows) {
  return {values.data(), rows, static_cast<int64_t>(values.size()) / rows};
}

// Every test runs on every vector extension that this CPU has.
class CpuElementwiseTest : public ::testing::TestWithParam<int64_t> {
 protected:
  void Embed(TensorView table, absl::Span<const uint32_t> ids, Activations out, float scale = 1) {
    ASSERT_TRUE(backend_->BeginStep({.ids = ids}).ok());
    backend_->Embed(table, scale, out);
  }

  const VectorTarget target_{GetParam()};
  const std::unique_ptr<Backend> backend_ = NewCpuBackend(2);
};

INSTANTIATE_TEST_SUITE_P(Targets, CpuElementwiseTest,
                         ::testing::ValuesIn(hwy::SupportedAndGeneratedTargets()),
                         [](const auto& info) { return hwy::TargetName(info.param); });

TEST_P(CpuElementwiseTest, EmbedsRowsOfEveryElementType) {
  const float values[] = {0.0f,
                          -0.0f,
                          1.0f,
                          -2.5f,
                          0.333251953125f,
                          65504.0f,
                          6.103515625e-05f,
                          5.9604644775390625e-08f};
  const uint16_t f16[] = {0x0000, 0x8000, 0x3C00, 0xC100, 0x3555, 0x7BFF, 0x0400, 0x0001};
  const uint32_t ids[] = {1, 0, 1};
  std::vector<float> out(12);
  Embed({f16, ElementType::kF16, 2, 4}, ids, Rows(out, 3));
  EXPECT_EQ(std::memcmp(out.data(), values + 4, 16), 0);
  EXPECT_EQ(std::memcmp(out.data() + 4, values, 16), 0);
  EXPECT_EQ(std::memcmp(out.data() + 8, values + 4, 16), 0);

  const uint16_t bf16[] = {0x3F80, 0xC020, 0x0000, 0x7F7F};
  const uint32_t row[] = {0};
  std::vector<float> widened(4);
  Embed({bf16, ElementType::kBF16, 1, 4}, row, Rows(widened, 1));
  EXPECT_EQ(widened[0], 1.0f);
  EXPECT_EQ(widened[1], -2.5f);
  EXPECT_EQ(widened[2], 0.0f);
  EXPECT_EQ(widened[3], 0x1.FEp127f);

  for (const int64_t width : kWidths) {
    const std::vector<float> table = RandomFloats(3 * width, 1);
    std::vector<float> rows(2 * width);
    const uint32_t two[] = {2, 0};
    Embed(ViewOf(table, 3), two, Rows(rows, 2));
    EXPECT_EQ(std::memcmp(rows.data(), table.data() + 2 * width, width * 4), 0);
    EXPECT_EQ(std::memcmp(rows.data() + width, table.data(), width * 4), 0);
  }
}

TEST_P(CpuElementwiseTest, WidensEveryHalfPrecisionNumber) {
  std::vector<uint16_t> all(1 << 16);
  for (int i = 0; i < 1 << 16; ++i) all[i] = static_cast<uint16_t>(i);
  std::vector<float> out(1 << 16);
  const uint32_t row[] = {0};
  Embed({all.data(), ElementType::kF16, 1, 1 << 16}, row, Rows(out, 1));
  for (int i = 0; i < 1 << 16; ++i) {
    const int exponent = (i >> 10) & 31;
    const double fraction = i & 1023;
    const double sign = i >> 15 ? -1.0 : 1.0;
    if (exponent == 31) {
      EXPECT_EQ(std::isnan(out[i]), fraction != 0) << i;
      EXPECT_EQ(std::isinf(out[i]), fraction == 0) << i;
    } else {
      const double magnitude =
          exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
      EXPECT_EQ(out[i], sign * magnitude) << i;
    }
    EXPECT_EQ(std::signbit(out[i]), i >> 15 == 1) << i;
  }
}

TEST_P(CpuElementwiseTest, AddsPositionsAndRows) {
  for (const int64_t width : kWidths) {
    const std::vector<float> table = RandomFloats(5 * width, 1);
    const std::vector<float> before = RandomFloats(3 * width, 2);
    std::vector<float> x = before;
    const int32_t positions[] = {4, 0, 1};
    const SequenceRows sequences[] = {{0, 1, 4}, {1, 2, 0}};
    ASSERT_TRUE(backend_->BeginStep({.sequences = sequences}).ok());
    backend_->AddPositions(ViewOf(table, 5), Rows(x, 3));
    for (int64_t i = 0; i < 3 * width; ++i) {
      EXPECT_EQ(x[i], before[i] + table[positions[i / width] * width + i % width]);
    }
    std::vector<float> y = RandomFloats(3 * width, 3);
    std::vector<float> sum = before;
    backend_->Add(Rows(sum, 3), Rows(y, 3));
    for (int64_t i = 0; i < 3 * width; ++i) EXPECT_EQ(sum[i], before[i] + y[i]);
  }
}

TEST_P(CpuElementwiseTest, ScalesEveryElementOfAnEmbedding) {
  const uint32_t ids[] = {0, 1, 2};
  for (const int64_t width : kWidths) {
    const std::vector<float> table = RandomFloats(3 * width, 1);
    std::vector<float> expected = table;
    for (float& value : expected) value *= 6.9282032f;
    std::vector<float> x(3 * width);
    Embed(ViewOf(table, 3), ids, Rows(x, 3), 6.9282032f);
    EXPECT_TRUE(SameBits(x, expected)) << width;
  }
}

TEST_P(CpuElementwiseTest, SoftCapsBoundEveryElement) {
  for (const int64_t width : kWidths) {
    std::vector<float> x = RandomFloats(3 * width, 1, 20.0f);
    x[0] = 1e30f;
    const std::vector<float> before = x;
    backend_->SoftCap(Rows(x, 3), 30);
    for (size_t i = 0; i < x.size(); ++i) {
      EXPECT_NEAR(x[i], 30 * std::tanh(before[i] / 30.0),
                  1e-6 * std::min(std::abs(before[i]), 30.0f));
      EXPECT_LE(std::abs(x[i]), 30);
    }
    // A row by itself has the same bits.
    std::vector<float> row(before.end() - width, before.end());
    backend_->SoftCap(Rows(row, 1), 30);
    EXPECT_TRUE(SameBits(row, {x.end() - width, x.end()})) << width;
  }
}

TEST_P(CpuElementwiseTest, GathersRowsAndAddsThemScaled) {
  for (const int64_t width : kWidths) {
    const std::vector<int64_t> rows = {0, 2, 3};
    const std::vector<float> scales = {0.25f, -3.1f, 1.7f};
    std::vector<float> x = RandomFloats(5 * width, 1);
    const std::vector<float> before = x;
    std::vector<float> gathered(3 * width);
    backend_->GatherRows(Rows(x, 5), rows, Rows(gathered, 3));
    std::vector<float> y = RandomFloats(3 * width, 2);
    for (int64_t i = 0; i < 3; ++i) {
      EXPECT_EQ(std::memcmp(&gathered[i * width], &x[rows[i] * width], width * sizeof(float)), 0);
    }
    backend_->AddScaledRows(Rows(y, 3), rows, scales, Rows(x, 5));
    std::vector<double> expected(before.begin(), before.end());
    for (int64_t i = 0; i < 3; ++i) {
      for (int64_t c = 0; c < width; ++c) {
        expected[rows[i] * width + c] += static_cast<double>(scales[i]) * y[i * width + c];
      }
    }
    for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(x[i], expected[i], 5e-7) << width;
  }
}

TEST_P(CpuElementwiseTest, NormsAgreeWithDoublePrecision) {
  constexpr float kEpsilon = 1e-5f;
  for (const int64_t width : kWidths) {
    SCOPED_TRACE(width);
    const std::vector<float> weight = RandomFloats(width, 1);
    const std::vector<float> bias = RandomFloats(width, 2);
    std::vector<float> x = RandomFloats(60 * width, 3, 4.0f);
    for (int64_t i = 0; i < width; ++i) x[i] += 100.0f;  // a row with a large mean
    std::vector<float> rms(x.size()), layer(x.size());
    backend_->RmsNorm(Rows(x, 60), ViewOf(weight, 1), kEpsilon, Rows(rms, 60));
    backend_->LayerNorm(Rows(x, 60), ViewOf(weight, 1), ViewOf(bias, 1), kEpsilon, Rows(layer, 60));
    for (int64_t r = 0; r < 60; ++r) {
      const float* row = x.data() + r * width;
      double mean = 0, squares = 0, variance = 0;
      for (int64_t i = 0; i < width; ++i) mean += row[i] / static_cast<double>(width);
      for (int64_t i = 0; i < width; ++i) {
        squares += double{row[i]} * row[i] / width;
        variance += (row[i] - mean) * (row[i] - mean) / width;
      }
      for (int64_t i = 0; i < width; ++i) {
        const double by_rms = row[i] / std::sqrt(squares + kEpsilon) * weight[i];
        const double by_layer =
            (row[i] - mean) / std::sqrt(variance + kEpsilon) * weight[i] + bias[i];
        EXPECT_NEAR(rms[r * width + i], by_rms, 2e-6);
        // The mean of the first row is known to 1e-5 in f32.
        EXPECT_NEAR(layer[r * width + i], by_layer, r == 0 ? 2e-5 : 4e-6);
      }
    }
    // In place, and a row alone: the same bits.
    std::vector<float> in_place = x;
    backend_->RmsNorm(Rows(in_place, 60), ViewOf(weight, 1), kEpsilon, Rows(in_place, 60));
    EXPECT_TRUE(SameBits(in_place, rms));
    in_place = x;
    backend_->LayerNorm(Rows(in_place, 60), ViewOf(weight, 1), ViewOf(bias, 1), kEpsilon,
                        Rows(in_place, 60));
    EXPECT_TRUE(SameBits(in_place, layer));
    std::vector<float> alone(x.begin() + 59 * width, x.end());
    backend_->LayerNorm(Rows(alone, 1), ViewOf(weight, 1), ViewOf(bias, 1), kEpsilon,
                        Rows(alone, 1));
    EXPECT_TRUE(SameBits(alone, {layer.begin() + 59 * width, layer.end()}));
    EXPECT_FALSE(SameBits(alone, {layer.begin(), layer.begin() + width}) && width > 1);
  }
}

TEST_P(CpuElementwiseTest, NormWeightsMayBeBF16) {
  const uint16_t weight[] = {0x3F80, 0x4000, 0xBF00};  // 1, 2, -0.5
  std::vector<float> x = {3.0f, 3.0f, 3.0f};
  backend_->RmsNorm(Rows(x, 1), {weight, ElementType::kBF16, 1, 3}, 0.0f, Rows(x, 1));
  EXPECT_FLOAT_EQ(x[0], 1.0f);
  EXPECT_FLOAT_EQ(x[1], 2.0f);
  EXPECT_FLOAT_EQ(x[2], -0.5f);
}

TEST_P(CpuElementwiseTest, RotatesHeadsByTheirPositions) {
  struct Case {
    int64_t head_dim, rotary_dim, heads, kv_heads;
  };
  for (const Case& c :
       {Case{64, 64, 4, 2}, Case{80, 32, 3, 3}, Case{6, 6, 2, 1}, Case{2, 2, 1, 1}}) {
    RopeTable table(c.rotary_dim, RopeScheme());
    ASSERT_TRUE(table.Cover(4096).ok());
    std::vector<int32_t> positions;
    for (int i = 0; i < 50; ++i) positions.push_back(i * 83 % 4096);
    const std::vector<float> q0 = RandomFloats(50 * c.heads * c.head_dim, 1);
    const std::vector<float> k0 = RandomFloats(50 * c.kv_heads * c.head_dim, 2);
    std::vector<float> q = q0, k = k0;
    RotateRows(Rows(q, 50), c.head_dim, table, positions);
    RotateRows(Rows(k, 50), c.head_dim, table, positions);
    const auto check = [&](const std::vector<float>& before, const std::vector<float>& after,
                           int64_t cols) {
      for (int64_t i = 0; i < 50 * cols; ++i) {
        const int64_t dim = i % c.head_dim;
        double expected = before[i];
        if (dim < c.rotary_dim) {
          const int64_t half = c.rotary_dim / 2;
          const double angle =
              positions[i / cols] * std::pow(10000.0, -2.0 * (dim % half) / c.rotary_dim);
          const double partner = dim < half ? -before[i + half] : before[i - half];
          expected = before[i] * std::cos(angle) + partner * std::sin(angle);
        }
        // The angle is an f32: known to 1.2e-4 at position 4,095.
        EXPECT_NEAR(after[i], expected, 5e-4);
      }
    };
    check(q0, q, c.heads * c.head_dim);
    check(k0, k, c.kv_heads * c.head_dim);
    EXPECT_FALSE(SameBits(q, q0));
  }
}

struct ActivationCase {
  Activation activation;
  bool gated;
  std::function<double(double)> exact;
};

TEST_P(CpuElementwiseTest, ActivationsAgreeWithDoublePrecision) {
  const auto silu = [](double x) { return x / (1 + std::exp(-x)); };
  const auto gelu_tanh = [](double x) {
    return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  };
  const auto gelu_erf = [](double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); };
  const auto relu = [](double x) { return x > 0 ? x : 0.0; };
  const ActivationCase cases[] = {{Activation::kSiluMul, true, silu},
                                  {Activation::kGeluTanhMul, true, gelu_tanh},
                                  {Activation::kGeluTanh, false, gelu_tanh},
                                  {Activation::kGeluErf, false, gelu_erf},
                                  {Activation::kRelu, false, relu}};
  for (const ActivationCase& c : cases) {
    for (const int64_t width : kWidths) {
      SCOPED_TRACE(::testing::Message() << static_cast<int>(c.activation) << ", width " << width);
      const int64_t in_width = c.gated ? 2 * width : width;
      std::vector<float> x = RandomFloats(30 * in_width, 1, 8.0f);
      x[0] = -200.0f;
      x[in_width] = 200.0f;
      x[2 * in_width] = 0.0f;
      x[3 * in_width] = -1e30f;
      std::vector<float> out(30 * width);
      backend_->Activate(c.activation, Rows(x, 30), Rows(out, 30));
      for (int64_t i = 0; i < 30 * width; ++i) {
        const float* row = x.data() + i / width * in_width;
        const double gate = row[i % width];
        const double up = c.gated ? row[width + i % width] : 1.0;
        EXPECT_NEAR(out[i], c.exact(gate) * up, 1e-6 * std::abs(gate * up) + 1e-12) << gate;
      }
      if (c.gated) continue;
      std::vector<float> in_place = x;
      backend_->Activate(c.activation, Rows(in_place, 30), Rows(in_place, 30));
      EXPECT_TRUE(SameBits(in_place, out));
      std::vector<float> row(x.begin() + 29 * width, x.end());
      backend_->Activate(c.activation, Rows(row, 1), Rows(row, 1));
      EXPECT_TRUE(SameBits(row, {out.begin() + 29 * width, out.end()}));
    }
  }
}

}  // namespace
}  // namespace reprise::engine
