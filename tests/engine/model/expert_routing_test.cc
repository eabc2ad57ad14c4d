#include "engine/model/expert_routing.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace reprise::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<RoutedRows> Route(std::vector<float> logits, const ExpertConfig& config) {
  std::vector<RoutedRows> routed;
  const auto rows = static_cast<int64_t>(logits.size()) / config.count;
  RouteRows({logits.data(), rows, config.count}, config, &routed);
  return routed;
}

TEST(ExpertRoutingTest, RowsGoToTheirMostWelcomeExperts) {
  const std::vector<RoutedRows> routed = Route({0, 3, 1, 2,  //
                                                5, 0, 1, 4},
                                               {.count = 4, .per_token = 2, .renormalize = true});
  ASSERT_EQ(routed.size(), 4u);
  EXPECT_THAT(routed[0].rows, ElementsAre(1));
  EXPECT_THAT(routed[1].rows, ElementsAre(0));
  EXPECT_THAT(routed[2].rows, IsEmpty());
  EXPECT_THAT(routed[3].rows, ElementsAre(0, 1));
  const float more = 1 / (1 + std::exp(-1.0f));
  EXPECT_FLOAT_EQ(routed[1].weights[0], more);
  EXPECT_FLOAT_EQ(routed[3].weights[0], 1 - more);
  EXPECT_FLOAT_EQ(routed[0].weights[0], more);
  EXPECT_FLOAT_EQ(routed[3].weights[1], 1 - more);
}

TEST(ExpertRoutingTest, WithoutRenormalizingTheWeightsAreTheSoftmaxOfAll) {
  const std::vector<RoutedRows> routed =
      Route({0, 3, 1, 2}, {.count = 4, .per_token = 2, .renormalize = false});
  const double sum = 1 + std::exp(3) + std::exp(1) + std::exp(2);
  EXPECT_FLOAT_EQ(routed[1].weights[0], std::exp(3) / sum);
  EXPECT_FLOAT_EQ(routed[3].weights[0], std::exp(2) / sum);
}

TEST(ExpertRoutingTest, OfEqualExpertsTheFirstWin) {
  const std::vector<RoutedRows> routed =
      Route({1, 2, 2, 2, 1}, {.count = 5, .per_token = 2, .renormalize = true});
  EXPECT_THAT(routed[1].rows, ElementsAre(0));
  EXPECT_THAT(routed[2].rows, ElementsAre(0));
  EXPECT_THAT(routed[3].rows, IsEmpty());
}

TEST(ExpertRoutingTest, ARowIsRoutedAlikeInEveryBatch) {
  const ExpertConfig config = {.count = 6, .per_token = 3, .renormalize = true};
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> logits(20 * config.count);
  for (float& logit : logits) logit = 40 * normal(random);
  const std::vector<RoutedRows> together = Route(logits, config);
  int64_t routed_rows = 0;
  for (int64_t r = 0; r < 20; ++r) {
    const auto row = logits.begin() + r * config.count;
    const std::vector<RoutedRows> alone = Route({row, row + config.count}, config);
    for (int64_t e = 0; e < config.count; ++e) {
      const auto place = std::find(together[e].rows.begin(), together[e].rows.end(), r);
      ASSERT_EQ(place != together[e].rows.end(), !alone[e].rows.empty());
      if (alone[e].rows.empty()) continue;
      EXPECT_EQ(together[e].weights[place - together[e].rows.begin()], alone[e].weights[0]);
      ++routed_rows;
    }
  }
  EXPECT_EQ(routed_rows, 20 * config.per_token);
}

TEST(ExpertRoutingTest, LogitsThatAreNoNumbersStillChooseDistinctExperts) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<RoutedRows> routed =
      Route({nan, nan, 1, nan}, {.count = 4, .per_token = 3, .renormalize = true});
  int64_t rows = 0;
  for (const RoutedRows& expert : routed) rows += static_cast<int64_t>(expert.rows.size());
  EXPECT_EQ(rows, 3);
}

}  // namespace
}  // namespace reprise::engine
