// The advice to load or recompute, against trying every split.
#include "api/session/load_advice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace reprise::api {
namespace {

using cachestore::LoadForecast;

constexpr int32_t kBlockTokens = 16;

LoadForecast Forecast(std::vector<bool> needs_load, double start, double per_block) {
  LoadForecast forecast;
  forecast.needs_load = std::move(needs_load);
  forecast.measured = true;
  forecast.median = {.start = absl::Seconds(start), .per_block = absl::Seconds(per_block)};
  forecast.p90 = {.start = 2 * absl::Seconds(start), .per_block = 2 * absl::Seconds(per_block)};
  return forecast;
}

v1::PrefillEstimate Estimate(double tokens_per_second, double deadline = 0) {
  v1::PrefillEstimate estimate;
  estimate.set_tokens_per_second(tokens_per_second);
  estimate.set_deadline_seconds(deadline);
  return estimate;
}

TEST(LoadAdviceTest, FastLoadsAreLoadedAndSlowOnesAreNot) {
  const LoadForecast forecast = Forecast(std::vector<bool>(10, true), 0, 0.01);
  const auto slow_engine = Advise(forecast, 0, kBlockTokens, Estimate(100));
  ASSERT_TRUE(slow_engine.ok());
  EXPECT_EQ(slow_engine->advice, v1::LOAD_ADVICE_LOAD);
  EXPECT_EQ(slow_engine->num_blocks, 10);
  const auto fast_engine = Advise(forecast, 0, kBlockTokens, Estimate(1e6));
  ASSERT_TRUE(fast_engine.ok());
  EXPECT_EQ(fast_engine->advice, v1::LOAD_ADVICE_RECOMPUTE);
  EXPECT_EQ(fast_engine->num_blocks, 0);
}

TEST(LoadAdviceTest, WhatIsInRamIsTakenWhateverTheRest) {
  // Four in RAM, then six that take longer to load than to compute.
  std::vector<bool> needs_load(10, true);
  std::fill(needs_load.begin(), needs_load.begin() + 4, false);
  const auto advice = Advise(Forecast(needs_load, 1, 1), 0, kBlockTokens, Estimate(1000));
  ASSERT_TRUE(advice.ok());
  EXPECT_EQ(advice->advice, v1::LOAD_ADVICE_LOAD_SOME);
  EXPECT_EQ(advice->num_blocks, 4);
  // Of a range that begins among them.
  EXPECT_EQ(Advise(Forecast(needs_load, 1, 1), 3, kBlockTokens, Estimate(1000))->num_blocks, 1);
}

TEST(LoadAdviceTest, ADeadlineLeavesOutWhatIsNotLikelyThereByThen) {
  // Nine of ten loads of n blocks are over after 2 n hundredths.
  const LoadForecast forecast = Forecast(std::vector<bool>(10, true), 0, 0.01);
  const auto advice = Advise(forecast, 0, kBlockTokens, Estimate(100, 0.101));
  ASSERT_TRUE(advice.ok());
  EXPECT_EQ(advice->num_blocks, 5);
  EXPECT_EQ(advice->advice, v1::LOAD_ADVICE_LOAD_SOME);
}

TEST(LoadAdviceTest, NothingCachedIsComputed) {
  for (const int64_t first : {0, 3}) {
    const auto advice = Advise(Forecast({}, 0, 0), first, kBlockTokens, Estimate(100));
    ASSERT_TRUE(advice.ok());
    EXPECT_EQ(advice->advice, v1::LOAD_ADVICE_RECOMPUTE);
    EXPECT_EQ(PredictLoad(Forecast({}, 1, 1), first, 0).p50_seconds(), 0);
  }
}

TEST(LoadAdviceTest, ItIsTheSplitThatIsOverSoonest) {
  std::mt19937 random(7);
  std::uniform_real_distribution<double> seconds(0, 0.05);
  for (int round = 0; round < 500; ++round) {
    std::vector<bool> needs_load(1 + random() % 40);
    for (size_t i = 0; i < needs_load.size(); ++i) needs_load[i] = random() % 3 != 0;
    const LoadForecast forecast = Forecast(needs_load, seconds(random), seconds(random));
    const auto first = static_cast<int64_t>(random() % needs_load.size());
    const double rate = kBlockTokens / (seconds(random) + 1e-4);
    const auto advice = Advise(forecast, first, kBlockTokens, Estimate(rate));
    ASSERT_TRUE(advice.ok());
    const auto total = [&](int64_t blocks) {
      const auto cached = static_cast<int64_t>(needs_load.size()) - first;
      return PredictLoad(forecast, first, blocks).p50_seconds() +
             static_cast<double>(cached - blocks) * kBlockTokens / rate;
    };
    for (int64_t n = 0; n <= static_cast<int64_t>(needs_load.size()) - first; ++n) {
      EXPECT_LE(total(advice->num_blocks), total(n) + 1e-6) << n;
    }
  }
}

TEST(LoadAdviceTest, EstimatesOutOfRangeAreRefused) {
  const LoadForecast forecast = Forecast({true}, 0, 1);
  for (const double rate : {0.0, -1.0, std::numeric_limits<double>::infinity(), std::nan("")}) {
    EXPECT_FALSE(Advise(forecast, 0, kBlockTokens, Estimate(rate)).ok()) << rate;
  }
  for (const double deadline : {-1.0, std::numeric_limits<double>::infinity(), std::nan("")}) {
    EXPECT_FALSE(Advise(forecast, 0, kBlockTokens, Estimate(1, deadline)).ok()) << deadline;
  }
}

}  // namespace
}  // namespace reprise::api
