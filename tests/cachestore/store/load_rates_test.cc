#include "cachestore/store/load_rates.h"

#include <gtest/gtest.h>

#include "absl/time/time.h"

namespace reprise::cachestore {
namespace {

constexpr uint64_t kBytes = 1000;

// The clock is the test's.
class LoadRatesTest : public testing::Test {
 protected:
  // A tier that ends a load every `pace` works on `count` loads, two at a time.
  void Burst(int count, absl::Duration pace, bool good = true) {
    int begun = 0;
    for (int ended = 0; ended < count; ++ended) {
      for (; begun < count && begun < ended + 2; ++begun) rates_.Begin(kBytes, now_);
      now_ += pace;
      rates_.End(kBytes, good, now_);
    }
  }
  void Lone(absl::Duration time) { Burst(1, time); }
  LoadForecast Predict(uint64_t bytes_ahead = 0) const {
    LoadForecast forecast;
    rates_.Predict(kBytes, bytes_ahead, now_, forecast);
    return forecast;
  }
  double MedianMs(int64_t blocks) const {
    return absl::ToDoubleMilliseconds(Predict().median.For(blocks));
  }
  double P90Ms(int64_t blocks) const {
    return absl::ToDoubleMilliseconds(Predict().p90.For(blocks));
  }

  LoadRates rates_;
  absl::Time now_ = absl::FromUnixSeconds(1000);
};

TEST_F(LoadRatesTest, BeforeALoadHasEndedLoadingCountsAsImmediate) {
  EXPECT_FALSE(Predict().measured);
  EXPECT_EQ(MedianMs(100), 0);
  EXPECT_EQ(P90Ms(100), 0);
  EXPECT_EQ(rates_.bytes_per_second(), 0);
  EXPECT_EQ(rates_.latency_us(), 0);
}

TEST_F(LoadRatesTest, BurstsTellTheRateAndLoneLoadsTheLatency) {
  Burst(6, absl::Milliseconds(10));
  EXPECT_TRUE(Predict().measured);
  EXPECT_EQ(rates_.bytes_per_second(), 100'000);
  EXPECT_NEAR(MedianMs(1), 10, 1e-6);
  Lone(absl::Milliseconds(13));
  EXPECT_EQ(rates_.bytes_per_second(), 100'000);
  EXPECT_EQ(rates_.latency_us(), 3'000);
  EXPECT_NEAR(MedianMs(1), 13, 1e-6);
  EXPECT_NEAR(MedianMs(50), 503, 1e-6);
  EXPECT_EQ(MedianMs(0), 0);
}

TEST_F(LoadRatesTest, WithoutBurstsLoadsAreTakenToFollowOneAnother) {
  Lone(absl::Milliseconds(20));
  EXPECT_EQ(rates_.bytes_per_second(), 50'000);
  EXPECT_NEAR(MedianMs(3), 60, 1e-6);
}

TEST_F(LoadRatesTest, LoadsUnderWayAndAheadComeFirst) {
  Burst(6, absl::Milliseconds(10));
  rates_.Begin(kBytes, now_);
  rates_.Begin(kBytes, now_);
  EXPECT_NEAR(MedianMs(1), 30, 1e-6);
  EXPECT_NEAR(absl::ToDoubleMilliseconds(Predict(5 * kBytes).median.For(1)), 80, 1e-6);
}

TEST_F(LoadRatesTest, ALongBurstTellsItsRateBeforeItEnds) {
  rates_.Begin(kBytes, now_);
  for (int i = 0; i < 20; ++i) {
    rates_.Begin(kBytes, now_);
    now_ += absl::Milliseconds(10);
    rates_.End(kBytes, true, now_);
  }
  EXPECT_TRUE(Predict().measured);
  EXPECT_EQ(rates_.bytes_per_second(), 100'000);
  // Its last load has been under way since long before the last cut: that is no speed.
  now_ += absl::Microseconds(1);
  rates_.End(kBytes, true, now_);
  EXPECT_NEAR(P90Ms(1), 10, 1e-6);
  EXPECT_NEAR(MedianMs(1), 10, 1e-6);
}

TEST_F(LoadRatesTest, AStallIsSeenWhileItLasts) {
  Burst(6, absl::Milliseconds(10));
  rates_.Begin(kBytes, now_);
  now_ += absl::Seconds(3);
  EXPECT_NEAR(MedianMs(1), 3000, 1e-6);
  EXPECT_NEAR(P90Ms(1), 3000, 1e-6);
  rates_.Begin(kBytes, now_);
  EXPECT_NEAR(MedianMs(1), 3000, 1e-6) << "beginning another load is no progress";
  rates_.End(kBytes, true, now_);
  EXPECT_LT(MedianMs(1), 100);
}

TEST_F(LoadRatesTest, AStallBeforeAnyLoadHasEndedIsSeenToo) {
  rates_.Begin(kBytes, now_);
  now_ += absl::Seconds(3);
  EXPECT_FALSE(Predict().measured);
  EXPECT_NEAR(MedianMs(1), 3000, 1e-6);
}

TEST_F(LoadRatesTest, OneHiccupChangesTheMedianLittleAndALastingChangeSoon) {
  for (int i = 0; i < 40; ++i) Burst(6, absl::Milliseconds(10));
  Burst(6, absl::Seconds(1));
  EXPECT_NEAR(MedianMs(1), 10, 1e-6);
  EXPECT_NEAR(P90Ms(1), 10, 1e-6);
  for (int i = 0; i < 7; ++i) Burst(6, absl::Milliseconds(40));
  EXPECT_NEAR(MedianMs(1), 40, 1e-6);
}

TEST_F(LoadRatesTest, TheSlowTenthShowsInP90) {
  for (int i = 0; i < 32; ++i) Burst(6, absl::Milliseconds(i % 5 == 0 ? 80 : 10));
  EXPECT_NEAR(MedianMs(1), 10, 1e-6);
  EXPECT_NEAR(P90Ms(1), 80, 1e-6);
}

TEST_F(LoadRatesTest, SmallBurstsWeighLittle) {
  Burst(100, absl::Milliseconds(10));
  for (int i = 0; i < 5; ++i) Burst(2, absl::Milliseconds(90));
  EXPECT_NEAR(MedianMs(1), 10, 1e-6);
}

TEST_F(LoadRatesTest, WhatIsLongAgoIsForgottenByForecastsAndKeptByGauges) {
  Burst(4, absl::Seconds(1));
  now_ += LoadRates::kMemory;
  EXPECT_TRUE(Predict().measured);
  now_ += absl::Milliseconds(1);
  EXPECT_FALSE(Predict().measured);
  EXPECT_EQ(MedianMs(10), 0);
  EXPECT_EQ(rates_.bytes_per_second(), 1000);
}

TEST_F(LoadRatesTest, FailedLoadsTellNoSpeed) {
  Burst(6, absl::Milliseconds(1), /*good=*/false);
  EXPECT_FALSE(Predict().measured);
  // Half of the loads of a burst give half of its rate.
  rates_.Begin(kBytes, now_);
  rates_.Begin(kBytes, now_);
  now_ += absl::Milliseconds(20);
  rates_.End(kBytes, false, now_);
  rates_.End(kBytes, true, now_);
  EXPECT_NEAR(MedianMs(1), 20, 1e-6);
}

}  // namespace
}  // namespace reprise::cachestore
