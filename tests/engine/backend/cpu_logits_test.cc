// Passes over a row of logits against plain loops in double precision.
#include "engine/backend/cpu_logits.h"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "tests/engine/backend/vector_target.h"

namespace reprise::engine {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
// Whole vectors, tails, a single element, and more than one run of sums.
const size_t kSizes[] = {1, 3, 16, 31, 64, 1024, 1025, 5000};

std::vector<float> RandomLogits(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 4);
  std::vector<float> logits(count);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

// Every test runs on every vector extension that this CPU has.
class CpuLogitsTest : public ::testing::TestWithParam<int64_t> {
 protected:
  const VectorTarget target_{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Targets, CpuLogitsTest,
                         ::testing::ValuesIn(hwy::SupportedAndGeneratedTargets()),
                         [](const auto& info) { return hwy::TargetName(info.param); });

TEST_P(CpuLogitsTest, TheLargestIsFoundWhereverItStands) {
  for (const size_t size : kSizes) {
    for (const size_t place : {size_t{0}, size / 2, size - 1}) {
      std::vector<float> logits = RandomLogits(size, 1);
      logits[place] = 50;
      const LargestLogit largest = FindLargestLogit(logits);
      EXPECT_TRUE(largest.usable);
      EXPECT_EQ(largest.value, 50);
      EXPECT_EQ(FirstAbove(logits, 0, 49), place);
    }
  }
}

TEST_P(CpuLogitsTest, LogitsAreUsableUnlessOneIsNoNumberOrAllAreMinusInfinity) {
  for (const size_t size : kSizes) {
    for (const size_t place : {size_t{0}, size / 2, size - 1}) {
      for (const float bad : {NAN, kInfinity}) {
        std::vector<float> logits = RandomLogits(size, 2);
        logits[place] = bad;
        EXPECT_FALSE(FindLargestLogit(logits).usable) << size << " " << place;
      }
      std::vector<float> logits(size, -kInfinity);
      EXPECT_FALSE(FindLargestLogit(logits).usable) << size;
      logits[place] = -3;
      EXPECT_TRUE(FindLargestLogit(logits).usable) << size << " " << place;
    }
  }
}

TEST_P(CpuLogitsTest, FirstAboveLooksFromItsBeginningOn) {
  for (const size_t size : kSizes) {
    const std::vector<float> values = RandomLogits(size, 3);
    for (size_t begin = 0; begin < size; begin += 1 + size / 50) {
      size_t expected = begin;
      while (expected < size && !(values[expected] > 2)) ++expected;
      EXPECT_EQ(FirstAbove(values, begin, 2), expected);
    }
    EXPECT_EQ(FirstAbove(values, 0, 1e6f), size);
    EXPECT_EQ(FirstAbove(values, size, -1e6f), size);
  }
}

TEST_P(CpuLogitsTest, WeightsAndSumsAreThoseOfDoublePrecision) {
  for (const size_t size : kSizes) {
    std::vector<float> logits = RandomLogits(size, 4);
    if (size > 2) logits[size / 3] = -kInfinity;
    const float largest = FindLargestLogit(logits).value;
    double at_half = 0;
    double at_one = 0;
    for (const float logit : logits) {
      at_half += std::exp((double{logit} - largest) * 2);
      at_one += std::exp(double{logit} - largest);
    }
    std::vector<float> weights(size, -1);
    EXPECT_NEAR(ExpWeights(logits, largest, 2, absl::MakeSpan(weights)), at_half, 2e-6 * at_half);
    EXPECT_NEAR(SumOfExp(logits, largest), at_one, 2e-6 * at_one);
    for (size_t i = 0; i < size; ++i) {
      const double weight = std::exp((double{logits[i]} - largest) * 2);
      EXPECT_NEAR(weights[i], weight, 1e-5 * weight + 1e-37) << size << " " << i;
    }
  }
}

TEST_P(CpuLogitsTest, TheLargestWeighsOneAndTheOthersNothingAtATinyTemperature) {
  std::vector<float> weights(3);
  const float huge = std::numeric_limits<float>::max();
  EXPECT_EQ(
      ExpWeights({1e30f, -1e30f, 1.0000001e30f}, 1.0000001e30f, huge, absl::MakeSpan(weights)), 1);
  EXPECT_EQ(weights, (std::vector<float>{0, 0, 1}));
}

TEST_P(CpuLogitsTest, SumsAndIndicesAreOfTheWeightsThatAreEnough) {
  for (const size_t size : kSizes) {
    const std::vector<float> weights = RandomLogits(size, 5);
    for (const float least : {weights[size / 2], 0.0f, -100.0f, 100.0f}) {
      double sum = 0;
      double magnitude = 1;
      std::vector<uint32_t> expected;
      for (size_t i = 0; i < size; ++i) {
        if (weights[i] < least) continue;
        expected.push_back(static_cast<uint32_t>(i));
        sum += weights[i];
        magnitude += std::abs(weights[i]);
      }
      EXPECT_NEAR(SumFrom(weights, least), sum, 1e-5 * magnitude);
      std::vector<uint32_t> indices(size, 7);
      indices.resize(IndicesFrom(weights, least, absl::MakeSpan(indices)));
      EXPECT_EQ(indices, expected) << size << " " << least;
    }
  }
}

}  // namespace
}  // namespace reprise::engine
