// PortableWeight on every vector extension this CPU has: values, the row contract, and equal bits
// from extensions that fuse multiply and add.

#include "engine/backend/portable_weight.h"

#include <omp.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "tests/engine/backend/vector_target.h"

namespace reprise::engine {
namespace {

std::vector<float> RandomFloats(int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
  std::vector<float> values(count);
  for (float& value : values) value = uniform(random);
  return values;
}

struct Shape {
  int64_t in, out;
};

constexpr Shape kShapes[] = {{300, 131}, {64, 48}, {33, 17}, {127, 1}, {1, 20}, {513, 16}};
constexpr int64_t kRows = 29;

class PortableWeightTest : public ::testing::Test {
 protected:
  void SetUp() override { omp_set_num_threads(2); }
};

TEST_F(PortableWeightTest, AgreesWithDoublePrecisionOnEveryTarget) {
  int targets = 0;
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    const VectorTarget scope(target);
    ++targets;
    for (const Shape& shape : kShapes) {
      const std::vector<float> x = RandomFloats(kRows * shape.in, 1);
      const std::vector<float> bias = RandomFloats(shape.out, 2);
      std::vector<float> w = RandomFloats(shape.in * shape.out, 3);
      std::vector<uint16_t> upper(w.size());
      for (size_t i = 0; i < w.size(); ++i) {
        uint32_t bits;
        std::memcpy(&bits, &w[i], sizeof(bits));
        upper[i] = static_cast<uint16_t>(bits >> 16);
        bits &= 0xFFFF0000u;
        std::memcpy(&w[i], &bits, sizeof(bits));  // a number that bf16 holds, for both types
      }
      const TensorView views[] = {{w.data(), ElementType::kF32, shape.in, shape.out},
                                  {upper.data(), ElementType::kBF16, shape.in, shape.out}};
      std::vector<float> results[2];
      for (int type = 0; type < 2; ++type) {
        auto packed = PackPortableWeight(views[type], WeightOrder::kInOut);
        ASSERT_TRUE(packed.ok()) << packed.status();
        results[type].assign(kRows * shape.out, -1.0f);
        (*packed)->Multiply(x.data(), kRows, bias.data(), results[type].data());
      }
      for (int64_t r = 0; r < kRows; ++r) {
        for (int64_t n = 0; n < shape.out; ++n) {
          double expected = bias[n];
          for (int64_t k = 0; k < shape.in; ++k) {
            expected += double{x[r * shape.in + k]} * w[k * shape.out + n];
          }
          EXPECT_NEAR(results[0][r * shape.out + n], expected, 2e-5);
        }
      }
      // The same numbers in the same order: the same bits, whatever the weight is stored as.
      EXPECT_EQ(std::memcmp(results[0].data(), results[1].data(), results[0].size() * 4), 0);
    }
  }
  EXPECT_GE(targets, 1);
}

TEST_F(PortableWeightTest, ARowHasTheSameBitsWhateverTheNumberOfRows) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    const VectorTarget scope(target);
    for (const Shape& shape : kShapes) {
      std::vector<float> x = RandomFloats(kRows * shape.in, 1);
      const std::vector<float> w = RandomFloats(shape.in * shape.out, 3);
      auto packed = PackPortableWeight({w.data(), ElementType::kF32, shape.out, shape.in},
                                       WeightOrder::kOutIn);
      ASSERT_TRUE(packed.ok()) << packed.status();
      std::vector<float> whole(kRows * shape.out), part(kRows * shape.out);
      (*packed)->Multiply(x.data(), kRows, nullptr, whole.data());
      for (int64_t rows = 1; rows <= kRows; ++rows) {
        (*packed)->Multiply(x.data(), rows, nullptr, part.data());
        EXPECT_EQ(std::memcmp(part.data(), whole.data(), rows * shape.out * 4), 0) << rows;
      }
      // One row changed is seen, and in that row only.
      x[0] += 0.5f;
      (*packed)->Multiply(x.data(), kRows, nullptr, part.data());
      EXPECT_NE(std::memcmp(part.data(), whole.data(), shape.out * 4), 0);
      EXPECT_EQ(std::memcmp(part.data() + shape.out, whole.data() + shape.out,
                            (kRows - 1) * shape.out * 4),
                0);
    }
  }
}

TEST_F(PortableWeightTest, AVX2AndAVX512GiveTheSameBits) {
  const int64_t both = HWY_AVX2 | HWY_AVX3;
  if ((hwy::SupportedTargets() & HWY_TARGETS & both) != both) GTEST_SKIP() << "not both here";
  const std::vector<float> x = RandomFloats(kRows * 300, 1);
  const std::vector<float> w = RandomFloats(300 * 131, 3);
  auto packed = PackPortableWeight({w.data(), ElementType::kF32, 300, 131}, WeightOrder::kInOut);
  ASSERT_TRUE(packed.ok()) << packed.status();
  std::vector<float> results[2];
  for (int i = 0; i < 2; ++i) {
    const VectorTarget scope(i == 0 ? HWY_AVX2 : HWY_AVX3);
    results[i].resize(kRows * 131);
    (*packed)->Multiply(x.data(), kRows, nullptr, results[i].data());
  }
  EXPECT_EQ(std::memcmp(results[0].data(), results[1].data(), results[0].size() * 4), 0);
}

}  // namespace
}  // namespace reprise::engine
