// What the store predicts of loads, over a tier whose speed the test decides.
#include "cachestore/store/load_forecast.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "tests/fakes/store_fixture.h"

namespace reprise::cachestore {
namespace {

constexpr int64_t kChain = 6;
constexpr absl::Duration kSlow = absl::Milliseconds(10);

class LoadForecastTest : public StoreFixture {
 protected:
  void SetUp() override {
    OpenWithDisk(/*ram_slots=*/32, 64);
    for (const uint32_t prompt : {1u, 2u}) SealChain(ns_, PromptTokens(prompt, kChain));
    ASSERT_TRUE(store_->Demote().ok());
  }
  LoadForecast Forecast(uint32_t prompt) const {
    return store_->ForecastLoad(ns_, PromptTokens(prompt, kChain + 1), 100);
  }
  static void ExpectAllLoaded(PinTicket& ticket) {
    ASSERT_TRUE(ticket.Wait(absl::Now() + absl::Seconds(60)));
    EXPECT_EQ(ticket.Take().disk_blocks, kChain);
  }
  // Loads the chain of prompt 1 as often, with nothing in RAM before and after.
  void Load(int times) {
    for (int i = 0; i < times; ++i) {
      ASSERT_EQ(PinNow(ns_, PromptTokens(1, kChain)).disk_blocks, kChain);
      ASSERT_TRUE(store_->Demote().ok());
    }
  }
};

TEST_F(LoadForecastTest, SaysWhichBlocksAreNotInRam) {
  EXPECT_EQ(Forecast(1).needs_load, std::vector<bool>(kChain, true));
  const PinnedPrefix pinned = PinNow(ns_, PromptTokens(1, 2));
  EXPECT_EQ(Forecast(1).needs_load, std::vector<bool>({false, false, true, true, true, true}));
  EXPECT_EQ(store_->ForecastLoad(ns_, PromptTokens(1, kChain), 3).needs_load.size(), 3u);
  EXPECT_TRUE(Forecast(3).needs_load.empty());
}

TEST_F(LoadForecastTest, FollowsTheSpeedOfTheTier) {
  EXPECT_FALSE(Forecast(1).measured);
  EXPECT_EQ(store_->stats().load_bytes_per_second, 0);
  faults_->SlowLoadsDown(kSlow);
  Load(3);
  const LoadForecast slow = Forecast(1);
  EXPECT_TRUE(slow.measured);
  EXPECT_GE(slow.median.For(kChain), 0.9 * kChain * kSlow);
  EXPECT_GE(slow.p90.For(kChain), slow.median.For(kChain));
  const int64_t slow_rate = store_->stats().load_bytes_per_second;
  EXPECT_GT(slow_rate, 0);
  EXPECT_LE(slow_rate,
            1.1 * static_cast<double>(ns_.layout.BytesPerBlock()) / absl::ToDoubleSeconds(kSlow));
  faults_->SlowLoadsDown(absl::ZeroDuration());
  Load(12);
  EXPECT_LT(Forecast(1).median.For(kChain), slow.median.For(kChain) / 2);
  EXPECT_GT(store_->stats().load_bytes_per_second, slow_rate * 2);
}

TEST_F(LoadForecastTest, CountsTheLoadsOfOthersAheadAndThoseThatAreSharedOnce) {
  faults_->SlowLoadsDown(kSlow);
  Load(2);
  faults_->CloseLoadGate();
  const int64_t loads = faults_->loads();
  PinTicket ticket = store_->Pin(ns_, PromptTokens(2, kChain), 100, nullptr);
  PinTicket same = store_->Pin(ns_, PromptTokens(2, kChain), 100, nullptr);
  faults_->AwaitLoads(loads + 2);
  const LoadForecast other = Forecast(1);
  const LoadForecast shared = Forecast(2);
  // Two are under way, for everybody; the four behind them, for the other prefix, once.
  EXPECT_NEAR(absl::ToDoubleMilliseconds(other.median.start - shared.median.start),
              4 * absl::ToDoubleMilliseconds(other.median.per_block), 1e-3);
  EXPECT_GE(shared.median.start, 1.99 * shared.median.per_block);
  // A ticket of one block takes turns with them.
  const LoadForecast one = store_->ForecastLoad(ns_, PromptTokens(1, kChain), 1);
  EXPECT_NEAR(absl::ToDoubleMilliseconds(one.median.start - shared.median.start),
              absl::ToDoubleMilliseconds(other.median.per_block), 1e-3);
  faults_->OpenLoadGate();
  ExpectAllLoaded(ticket);
  ExpectAllLoaded(same);
}

TEST_F(LoadForecastTest, ATierThatHangsIsAsSlowAsItHasHungAlready) {
  Load(3);
  faults_->CloseLoadGate();
  PinTicket hanging = store_->Pin(ns_, PromptTokens(2, kChain), 100, nullptr);
  EXPECT_GT(Forecast(1).median.start, absl::ZeroDuration());
  const absl::Time hung = absl::Now() + absl::Milliseconds(50);
  while (absl::Now() < hung) std::this_thread::yield();
  EXPECT_GE(Forecast(1).median.For(1), absl::Milliseconds(50));
  faults_->OpenLoadGate();
  ExpectAllLoaded(hanging);
  EXPECT_EQ(Forecast(1).median.least, absl::ZeroDuration());
}

}  // namespace
}  // namespace reprise::cachestore
