#include "engine/run/token_draw.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <set>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace reprise::engine {
namespace {

using testing::HasSubstr;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// How often each token comes at 20,000 positions of one seed.
std::vector<int64_t> Counts(const std::vector<float>& logits, const SamplingParams& params,
                            int64_t draws = 20'000) {
  std::vector<int64_t> counts(logits.size());
  TokenDraw draw;
  for (int64_t position = 0; position < draws; ++position) {
    const absl::StatusOr<uint32_t> token = draw.Draw(params, position, logits);
    EXPECT_TRUE(token.ok()) << token.status();
    ++counts[token.value_or(0)];
  }
  return counts;
}

// Pearson's statistic of `counts` against the softmax of logits / temperature over `allowed`.
double ChiSquare(const std::vector<int64_t>& counts, const std::vector<float>& logits,
                 double temperature, const std::set<size_t>& allowed) {
  double total_weight = 0;
  int64_t draws = 0;
  for (size_t i : allowed) total_weight += std::exp(logits[i] / temperature);
  for (int64_t count : counts) draws += count;
  double chi_square = 0;
  for (size_t i : allowed) {
    const double expected = draws * std::exp(logits[i] / temperature) / total_weight;
    chi_square += (counts[i] - expected) * (counts[i] - expected) / expected;
  }
  return chi_square;
}

TEST(TokenDrawTest, TemperatureZeroTakesTheLargestAndOfEqualsTheLowestId) {
  EXPECT_EQ(*TokenDraw().Draw({}, 0, {0.5f, 2.0f, -1.0f, 2.0f}), 1u);
  EXPECT_EQ(*TokenDraw().Draw({}, 0, {-kInfinity, -kInfinity, -3.0f}), 2u);
}

TEST(TokenDrawTest, TheDistributionIsTheSoftmaxAtTheTemperature) {
  const std::vector<float> logits = {1.0f, 0.0f, 2.0f, -1.0f, 0.5f, 1.5f};
  const std::set<size_t> all = {0, 1, 2, 3, 4, 5};
  for (const float temperature : {0.7f, 1.0f, 2.0f}) {
    const std::vector<int64_t> counts = Counts(logits, {.temperature = temperature, .seed = 11});
    // 5 degrees of freedom: above 25 with probability 0.0001.
    EXPECT_LT(ChiSquare(counts, logits, temperature, all), 25) << temperature;
    // The test can tell: the same counts do not fit another temperature.
    EXPECT_GT(ChiSquare(counts, logits, temperature * 1.3, all), 100) << temperature;
  }
}

TEST(TokenDrawTest, TopKKeepsTheBestAndOfEqualsTheLowestIds) {
  const std::vector<float> logits = {1.0f, 3.0f, 1.0f, 2.0f, 1.0f};
  const std::vector<int64_t> counts = Counts(logits, {.temperature = 1, .top_k = 3, .seed = 5});
  EXPECT_EQ(counts[2], 0);
  EXPECT_EQ(counts[4], 0);
  EXPECT_LT(ChiSquare(counts, logits, 1, {0, 1, 3}), 18.4);  // 2 degrees of freedom, 0.0001
}

TEST(TokenDrawTest, TopPKeepsTheSmallestSetThatReachesTheShare) {
  // Shares 0.5, 0.3, 0.15, 0.05 in another order.
  const std::vector<float> logits = {std::log(0.15f), std::log(0.5f), std::log(0.05f),
                                     std::log(0.3f)};
  const std::vector<int64_t> two = Counts(logits, {.temperature = 1, .top_p = 0.75f, .seed = 5});
  EXPECT_EQ(two[0], 0);
  EXPECT_EQ(two[2], 0);
  EXPECT_LT(ChiSquare(two, logits, 1, {1, 3}), 15.2);  // 1 degree of freedom, 0.0001
  const std::vector<int64_t> one = Counts(logits, {.temperature = 1, .top_p = 0.01f, .seed = 5});
  EXPECT_EQ(one[1], 20'000);
  const std::vector<int64_t> three = Counts(logits, {.temperature = 1, .top_p = 0.81f, .seed = 5});
  EXPECT_GT(three[0], 0);
  EXPECT_EQ(three[2], 0);
}

TEST(TokenDrawTest, TopPCountsSharesOfWhatTopKLeft) {
  // Of all, the best has 0.4; of the best two, 0.57: then 0.5 is reached by it alone.
  const std::vector<float> logits = {std::log(0.4f), std::log(0.3f), std::log(0.2f),
                                     std::log(0.1f)};
  const std::vector<int64_t> both =
      Counts(logits, {.temperature = 1, .top_k = 2, .top_p = 0.5f, .seed = 3});
  EXPECT_EQ(both[0], 20'000);
  const std::vector<int64_t> top_p_alone =
      Counts(logits, {.temperature = 1, .top_p = 0.5f, .seed = 3});
  EXPECT_GT(top_p_alone[1], 0);
}

TEST(TokenDrawTest, TemperatureActsBeforeTopP) {
  // At temperature 4 the shares are nearly even, so that 0.6 needs more than two of four.
  const std::vector<float> logits = {2.0f, 1.0f, 0.0f, -1.0f};
  const std::vector<int64_t> hot = Counts(logits, {.temperature = 4, .top_p = 0.6f, .seed = 3});
  EXPECT_GT(hot[1], 0);
  const std::vector<int64_t> plain = Counts(logits, {.temperature = 1, .top_p = 0.6f, .seed = 3});
  EXPECT_EQ(plain[0], 20'000);
}

TEST(TokenDrawTest, MinPKeepsWhatHasTheShareOfTheLikeliest) {
  const std::vector<float> logits = {std::log(0.15f), std::log(0.5f), std::log(0.05f),
                                     std::log(0.3f)};
  // 0.15 is 0.3 of the likeliest's 0.5.
  const std::vector<int64_t> three = Counts(logits, {.temperature = 1, .min_p = 0.29f, .seed = 5});
  EXPECT_GT(three[0], 0);
  EXPECT_EQ(three[2], 0);
  EXPECT_LT(ChiSquare(three, logits, 1, {0, 1, 3}), 18.4);  // 2 degrees of freedom, 0.0001
  const std::vector<int64_t> two = Counts(logits, {.temperature = 1, .min_p = 0.31f, .seed = 5});
  EXPECT_EQ(two[0], 0);
  EXPECT_LT(ChiSquare(two, logits, 1, {1, 3}), 15.2);  // 1 degree of freedom, 0.0001
  // Equals of the likeliest stay, whatever min_p is.
  EXPECT_GT(Counts({1.0f, 1.0f, 0.9f}, {.temperature = 1, .min_p = 1})[1], 9'000);
  EXPECT_EQ(Counts({1.0f, 1.0f, 0.9f}, {.temperature = 1, .min_p = 1})[2], 0);
}

TEST(TokenDrawTest, MinPActsAtTheTemperature) {
  // At temperature 1 the second has 0.37 of the first, at 4 it has 0.78.
  const std::vector<float> logits = {2.0f, 1.0f};
  EXPECT_EQ(Counts(logits, {.temperature = 1, .min_p = 0.5f})[1], 0);
  EXPECT_GT(Counts(logits, {.temperature = 4, .min_p = 0.5f})[1], 0);
}

TEST(TokenDrawTest, TopPCountsSharesOfWhatMinPTakes) {
  // 0.65 of all needs the best two. Of what min-p leaves, the best two, the best alone has it.
  const std::vector<float> logits = {std::log(0.4f), std::log(0.2f), std::log(0.19f),
                                     std::log(0.11f), std::log(0.1f)};
  const std::vector<int64_t> counts =
      Counts(logits, {.temperature = 1, .top_p = 0.65f, .min_p = 0.49f, .seed = 3});
  EXPECT_GT(counts[1], 0);
  EXPECT_EQ(counts[2], 0);
}

// Top-k, top-p and min-p in the plainest way: everything ranked, everything summed in rank order.
struct PlainFilters {
  PlainFilters(const std::vector<float>& logits, const SamplingParams& params)
      : ranked(logits.size()) {
    std::iota(ranked.begin(), ranked.end(), 0);
    std::stable_sort(ranked.begin(), ranked.end(),
                     [&](uint32_t a, uint32_t b) { return logits[a] > logits[b]; });
    if (params.top_k > 0) ranked.resize(std::min<size_t>(ranked.size(), params.top_k));
    double sum = 0;
    for (const uint32_t token : ranked) {
      sum += std::exp((double{logits[token]} - logits[ranked[0]]) / params.temperature);
      sums.push_back(sum);
    }
    sums.resize(std::lower_bound(sums.begin(), sums.end(), params.top_p * sum) - sums.begin() + 1);
    while (WeightOf(sums.size() - 1) < params.min_p) sums.pop_back();
  }
  double WeightOf(size_t rank) const { return rank == 0 ? sums[0] : sums[rank] - sums[rank - 1]; }
  // The rank that is drawn at `uniform` in [0, 1).
  int64_t RankAt(double uniform) const {
    return std::upper_bound(sums.begin(), sums.end(), uniform * sums.back()) - sums.begin();
  }

  std::vector<uint32_t> ranked;
  std::vector<double> sums;  // of the weights up to a rank, of those kept
};

TEST(TokenDrawTest, FiltersAreThoseOfRankingEverything) {
  // Of equal logits each has its step of the random number: a draw among them tells it.
  constexpr int kSteps = 1 << 16;
  const std::vector<float> equal(kSteps, 0.0f);
  std::mt19937 random(1);
  TokenDraw draw;
  int single = 0;
  for (int round = 0; round < 400; ++round) {
    std::vector<float> logits(1 + random() % 3000);
    std::normal_distribution<float> normal(0, 0.1f + static_cast<float>(round % 7));
    for (float& logit : logits) logit = std::round(normal(random) * 8) / 8;  // many are equal
    const SamplingParams params = {.temperature = 0.3f + 0.2f * static_cast<float>(round % 5),
                                   .top_k = round % 3 == 0 ? 40 : 0,
                                   .top_p = round % 2 == 0 ? 0.9f : 0.5f,
                                   .min_p = round % 4 < 2 ? 0.0f : 0.01f * (round % 30),
                                   .seed = random()};
    const uint32_t token = *draw.Draw(params, round, logits);
    const double uniform = *draw.Draw({.temperature = 1, .seed = params.seed}, round, equal);
    const PlainFilters plain(logits, params);
    const int64_t rank =
        std::find(plain.ranked.begin(), plain.ranked.end(), token) - plain.ranked.begin();
    EXPECT_GE(rank, plain.RankAt(uniform / kSteps)) << "round " << round;
    EXPECT_LE(rank, plain.RankAt((uniform + 1) / kSteps)) << "round " << round;
    single += plain.RankAt(uniform / kSteps) == plain.RankAt((uniform + 1) / kSteps) ? 1 : 0;
  }
  EXPECT_GT(single, 300);  // else the steps are too coarse to tell
}

TEST(TokenDrawTest, ADrawDependsOnSeedAndPositionAlone) {
  const std::vector<float> logits(1000, 0.0f);
  const SamplingParams params = {.temperature = 1, .seed = 42};
  EXPECT_EQ(*TokenDraw().Draw(params, 7, logits), *TokenDraw().Draw(params, 7, logits));
  std::set<uint32_t> tokens;
  for (int64_t position = 0; position < 50; ++position) {
    tokens.insert(*TokenDraw().Draw(params, position, logits));
  }
  EXPECT_GT(tokens.size(), 40u);
  // Neighbouring seeds are not shifted copies of each other.
  int equal = 0;
  for (int64_t position = 0; position < 100; ++position) {
    const SamplingParams next = {.temperature = 1, .seed = 43};
    equal += *TokenDraw().Draw(params, position + 1, logits) ==
             *TokenDraw().Draw(next, position, logits);
  }
  EXPECT_LT(equal, 5);
}

TEST(TokenDrawTest, ATinyTemperatureIsGreedyAndDoesNotOverflow) {
  const std::vector<float> logits = {1e30f, -1e30f, 1.0000001e30f};
  EXPECT_EQ(Counts(logits, {.temperature = 1e-30f, .top_p = 0.9f}, 100)[2], 100);
  EXPECT_EQ(Counts(logits, {.temperature = 1e-30f}, 100)[2], 100);
}

TEST(TokenDrawTest, ATokenWithLogitMinusInfinityNeverComes) {
  const std::vector<float> logits = {-kInfinity, 0.0f, -kInfinity, 0.0f};
  for (const float top_p : {1.0f, 0.99f}) {
    const std::vector<int64_t> counts = Counts(logits, {.temperature = 1, .top_p = top_p});
    EXPECT_EQ(counts[0] + counts[2], 0);
    EXPECT_GT(counts[1], 9'000);
  }
}

TEST(TokenDrawTest, LogitsThatAreNotNumbersAreAnError) {
  for (const float temperature : {0.0f, 1.0f}) {
    const SamplingParams params = {.temperature = temperature};
    const absl::Status nan = TokenDraw().Draw(params, 0, {1.0f, NAN, 2.0f}).status();
    EXPECT_EQ(nan.code(), absl::StatusCode::kInternal);
    EXPECT_THAT(nan.message(), HasSubstr("token 1"));
    EXPECT_FALSE(TokenDraw().Draw(params, 0, {1.0f, kInfinity}).ok());
    EXPECT_FALSE(TokenDraw().Draw(params, 0, {-kInfinity, -kInfinity}).ok());
  }
}

}  // namespace
}  // namespace reprise::engine
