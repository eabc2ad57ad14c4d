#include "engine/run/logprobs.h"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace reprise::engine {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(LogprobsTest, TheyAreThoseOfTheSoftmax) {
  const std::vector<float> logits = {std::log(0.1f) + 7, std::log(0.6f) + 7, std::log(0.3f) + 7};
  const TokenLogprobs logprobs = LogprobsOf(logits, 0, 2);
  EXPECT_NEAR(logprobs.chosen, std::log(0.1), 1e-6);
  ASSERT_EQ(logprobs.top.size(), 2u);
  EXPECT_EQ(logprobs.top[0].token, 1u);
  EXPECT_NEAR(logprobs.top[0].logprob, std::log(0.6), 1e-6);
  EXPECT_EQ(logprobs.top[1].token, 2u);
  EXPECT_NEAR(logprobs.top[1].logprob, std::log(0.3), 1e-6);
  EXPECT_TRUE(LogprobsOf(logits, 0, 0).top.empty());
}

TEST(LogprobsTest, EqualsComeByTokenAndWhatCannotComeIsLeftOut) {
  const TokenLogprobs logprobs = LogprobsOf({2.0f, -kInfinity, 2.0f, 2.0f}, 3, 20);
  ASSERT_EQ(logprobs.top.size(), 3u);
  EXPECT_EQ(logprobs.top[0].token, 0u);
  EXPECT_EQ(logprobs.top[1].token, 2u);
  EXPECT_EQ(logprobs.top[2].token, 3u);
  EXPECT_NEAR(logprobs.chosen, std::log(1.0 / 3), 1e-6);
}

TEST(LogprobsTest, HugeLogitsDoNotOverflow) {
  const TokenLogprobs logprobs = LogprobsOf({3e38f, -3e38f, 3e38f}, 1, 1);
  EXPECT_NEAR(logprobs.top[0].logprob, std::log(0.5), 1e-6);
  EXPECT_TRUE(std::isfinite(LogprobsOf({-3e38f, -3e38f}, 1, 1).chosen));
}

TEST(LogprobsTest, AllProbabilitiesOfALargeVocabularySumToOne) {
  constexpr int32_t kVocabSize = 150'000;
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 3);
  std::vector<float> logits(kVocabSize);
  for (float& logit : logits) logit = normal(random);
  double sum = 0;
  for (const TokenLogprob& top : LogprobsOf(logits, 0, kVocabSize).top) {
    EXPECT_LE(top.logprob, 0);
    sum += std::exp(double{top.logprob});
  }
  EXPECT_NEAR(sum, 1, 1e-5);
}

}  // namespace
}  // namespace reprise::engine
