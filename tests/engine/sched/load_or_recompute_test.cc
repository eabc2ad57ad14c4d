// Which prefixes the scheduler loads and which it has computed, over a tier whose speed the test
// decides and with steps that take as long as the test says.
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "tests/engine/sched/gated_store.h"
#include "tests/engine/sched/scheduler_driver.h"

namespace reprise::engine {
namespace {

constexpr int32_t kBlockTokens = 8;
constexpr int64_t kPromptTokens = 200;
constexpr int64_t kCachedTokens = 192;  // the last token is always computed
constexpr int32_t kNewTokens = 8;

class LoadOrRecomputeTest : public testing::Test {
 protected:
  // Leaves prompts 1 and 2 on the tier, and nothing in RAM.
  void SetUp() override {
    SchedulerDriver driver(store_.get(), kBlockTokens);
    driver.Submit(Prompt(1), 1);
    driver.Submit(Prompt(2), 1);
    driver.RunUntilEnded(2);
    ASSERT_TRUE(store_.get()->Demote().ok());
    ASSERT_EQ(store_.get()->stats().ram_blocks, 0);
  }
  void TearDown() override {
    plan().OpenLoadGate();
    EXPECT_EQ(store_.get()->stats().pinned_blocks, 0);
    // Loads that were given up end by themselves.
    const absl::Time give_up = absl::Now() + absl::Seconds(60);
    while (store_.get()->stats().queued_transfers > 0 && absl::Now() < give_up) {
      std::this_thread::yield();
    }
    ExpectStoreAtRest(*store_.get());
  }

  static std::vector<uint32_t> Prompt(uint32_t salt) { return PromptOf(kPromptTokens, salt); }
  cachestore::FaultPlan& plan() { return store_.plan(); }

  // Lets the scheduler learn that a prompt that nobody has seen takes `step_time`.
  static void Calibrate(SchedulerDriver& driver, absl::Duration step_time) {
    driver.PretendStepsTake(step_time);
    driver.Submit(Prompt(9), 1);
    driver.RunUntilEnded(1);
    ASSERT_GT(driver.scheduler().prefill_rate().tokens_per_second(), 0);
  }
  // Runs the prompt and checks the answer.
  GenerateResult Run(SchedulerDriver& driver, uint32_t salt) {
    const SequenceId id = driver.Submit(Prompt(salt), kNewTokens);
    driver.RunUntilEnded(driver.num_ended() + 1);
    EXPECT_EQ(driver.answer(id), ReferenceAnswer(Prompt(salt), kNewTokens, kBlockTokens));
    EXPECT_EQ(driver.model().wrong_positions(), 0);
    return driver.result(id);
  }
  // What loading prompt 2 is expected to take.
  absl::Duration Forecast(SchedulerDriver& driver) {
    return store_.get()
        ->ForecastLoad(driver.ns(), Prompt(2), 100)
        .median.For(kCachedTokens / kBlockTokens);
  }
  // Loads that were under way when the request ended have told the store its speed.
  void AwaitMeasured(SchedulerDriver& driver) {
    const absl::Time give_up = absl::Now() + absl::Seconds(60);
    while (!store_.get()->ForecastLoad(driver.ns(), Prompt(2), 100).measured) {
      ASSERT_LT(absl::Now(), give_up);
      std::this_thread::yield();
    }
  }

  GatedStore store_{kBlockTokens};
};

TEST_F(LoadOrRecomputeTest, FromAFastTierEverythingIsLoaded) {
  SchedulerDriver driver(store_.get(), kBlockTokens);
  Calibrate(driver, absl::Seconds(100));
  EXPECT_EQ(Run(driver, 1).cached_disk_tokens, kCachedTokens);
  AwaitMeasured(driver);
  EXPECT_EQ(Run(driver, 2).cached_disk_tokens, kCachedTokens);
  EXPECT_EQ(driver.scheduler().counters().passed_over_tokens, 0);
  EXPECT_EQ(driver.scheduler().counters().abandoned_loads, 0);
}

TEST_F(LoadOrRecomputeTest, ASlowTierIsTriedOnceAndThenPassedOver) {
  SchedulerDriver driver(store_.get(), kBlockTokens);
  Calibrate(driver, absl::Milliseconds(10));
  plan().SlowLoadsDown(absl::Milliseconds(50));
  const SchedulerCounters& counters = driver.scheduler().counters();
  EXPECT_LT(Run(driver, 1).cached_disk_tokens, kCachedTokens);
  EXPECT_EQ(counters.abandoned_loads, 1);
  EXPECT_EQ(counters.passed_over_tokens, 0);
  AwaitMeasured(driver);
  const int64_t loads = plan().loads();
  EXPECT_EQ(Run(driver, 2).cached_disk_tokens, 0);
  EXPECT_EQ(counters.passed_over_tokens, kCachedTokens);
  EXPECT_EQ(counters.abandoned_loads, 1);
  EXPECT_EQ(plan().loads(), loads);
}

TEST_F(LoadOrRecomputeTest, WhatIsThereBeforeAPromptAheadIsComputedIsLoaded) {
  plan().SlowLoadsDown(absl::Milliseconds(10));
  {
    SchedulerDriver driver(store_.get(), kBlockTokens);
    Run(driver, 1);
    AwaitMeasured(driver);
  }
  SchedulerDriver driver(store_.get(), kBlockTokens);
  const absl::Duration load = Forecast(driver);
  ASSERT_GE(load, absl::Milliseconds(100));
  // Alone, it would be computed in 3/4 of the time; the prompt ahead takes 15/16 of it.
  Calibrate(driver, 0.75 * kPromptTokens / kCachedTokens * load);
  const int64_t loads = plan().loads();
  driver.Submit(PromptOf(240, 5), 1);
  const SequenceId id = driver.Submit(Prompt(2), kNewTokens);
  driver.RunUntilEnded(driver.num_ended() + 2);
  EXPECT_LT(driver.scheduler().counters().passed_over_tokens, kCachedTokens / 2);
  EXPECT_GT(plan().loads(), loads);
  EXPECT_EQ(driver.answer(id), ReferenceAnswer(Prompt(2), kNewTokens, kBlockTokens));
}

TEST_F(LoadOrRecomputeTest, WhereLoadingIsAlwaysWantedASlowTierIsWaitedFor) {
  SchedulerDriver driver(store_.get(), kBlockTokens, {.prefix_loading = PrefixLoading::kAlways});
  Calibrate(driver, absl::Milliseconds(1));
  plan().SlowLoadsDown(absl::Milliseconds(2));
  for (const uint32_t prompt : {1u, 2u}) {
    EXPECT_EQ(Run(driver, prompt).cached_disk_tokens, kCachedTokens);
    AwaitMeasured(driver);
  }
  EXPECT_EQ(driver.scheduler().counters().passed_over_tokens, 0);
}

TEST_F(LoadOrRecomputeTest, ATierThatHangsCostsOneRequestABoundedWaitAndTheNextNone) {
  SchedulerDriver driver(store_.get(), kBlockTokens);
  Calibrate(driver, absl::Milliseconds(200));
  plan().CloseLoadGate();
  const SchedulerCounters& counters = driver.scheduler().counters();
  EXPECT_EQ(Run(driver, 1).cached_disk_tokens, 0);
  const absl::Duration wait = driver.result(2).load_time;
  EXPECT_GE(wait, absl::Milliseconds(190)) << "what computing takes";
  EXPECT_LT(wait, absl::Seconds(5)) << "load_timeout is longer";
  EXPECT_EQ(counters.abandoned_loads, 1);
  const int64_t loads = plan().loads();
  // A load counts from a moment after the request that waits for it.
  const absl::Time give_up = absl::Now() + absl::Seconds(60);
  while (Forecast(driver) < absl::Milliseconds(250)) {
    ASSERT_LT(absl::Now(), give_up);
    std::this_thread::yield();
  }
  EXPECT_EQ(Run(driver, 2).cached_disk_tokens, 0);
  EXPECT_EQ(driver.result(3).load_time, absl::ZeroDuration());
  EXPECT_EQ(counters.passed_over_tokens, kCachedTokens);
  EXPECT_EQ(counters.abandoned_loads, 1);
  EXPECT_EQ(plan().loads(), loads);
  EXPECT_EQ(store_.get()->stats().pinned_blocks, 0);
}

}  // namespace
}  // namespace reprise::engine
