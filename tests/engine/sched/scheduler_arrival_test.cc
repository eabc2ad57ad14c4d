// Prefixes that a step uses while they are still being loaded, over a tier whose loads stop after
// the first of the model's two layers until the test lets them end.
#include <cstdint>
#include <memory>
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

class SchedulerArrivalTest : public testing::Test {
 protected:
  // Leaves prompts 1 and 2 on the tier, and nothing in RAM; both engine and store know their speed.
  void SetUp() override {
    {
      SchedulerDriver driver(store_.get(), kBlockTokens);
      driver.Submit(Prompt(1), 1);
      driver.Submit(Prompt(2), 1);
      driver.RunUntilEnded(2);
      ASSERT_TRUE(store_.get()->Demote().ok());
      ASSERT_EQ(store_.get()->stats().ram_blocks, 0);
    }
    driver_ = std::make_unique<SchedulerDriver>(store_.get(), kBlockTokens);
    driver_->PretendStepsTake(absl::Seconds(100));
    Run(PromptOf(100, 9));
    plan().SlowLoadsDown(absl::Milliseconds(50));  // so that the patience for loads is long
    EXPECT_EQ(Run(Prompt(2)).cached_disk_tokens, kCachedTokens);
    plan().SlowLoadsDown(absl::ZeroDuration());
    ASSERT_EQ(counters().arrived_prefixes, 0) << "nothing was known of the tier";
    ASSERT_TRUE(store_.get()->ForecastLoad(driver_->ns(), Prompt(1), 100).measured);
    plan().HoldLoadsBehind(driver_->ns().layout.PartOffset(1, 0));
  }
  void TearDown() override {
    driver_ = nullptr;
    plan().LetLoadsEnd();
    const absl::Time give_up = absl::Now() + absl::Seconds(60);
    while (store_.get()->stats().queued_transfers > 0 && absl::Now() < give_up) {
      std::this_thread::yield();
    }
    ExpectStoreAtRest(*store_.get());
  }

  static std::vector<uint32_t> Prompt(uint32_t salt) { return PromptOf(kPromptTokens, salt); }
  cachestore::FaultPlan& plan() { return store_.plan(); }
  const SchedulerCounters& counters() { return driver_->scheduler().counters(); }
  // Lets the loads end when the model has computed its first layer and waits for the second.
  void EndLoadsAfterLayer0() {
    driver_->model().OnAwait([this](int32_t layer) {
      if (layer == 1) plan().LetLoadsEnd();
    });
  }
  // Runs the prompt and checks the answer.
  GenerateResult Run(const std::vector<uint32_t>& prompt) {
    const SequenceId id = driver_->Submit(prompt, kNewTokens);
    driver_->RunUntilEnded(driver_->num_ended() + 1);
    EXPECT_EQ(driver_->answer(id), ReferenceAnswer(prompt, kNewTokens, kBlockTokens));
    EXPECT_EQ(driver_->model().wrong_positions(), 0);
    return driver_->result(id);
  }

  GatedStore store_{kBlockTokens};
  std::unique_ptr<SchedulerDriver> driver_;
};

TEST_F(SchedulerArrivalTest, AStepUsesThePrefixWhileItIsLoaded) {
  EndLoadsAfterLayer0();
  const int64_t computed = driver_->model().computed_tokens();
  const GenerateResult result = Run(Prompt(1));
  EXPECT_EQ(counters().arrived_prefixes, 1);
  EXPECT_EQ(counters().void_steps, 0);
  EXPECT_EQ(result.cached_disk_tokens, kCachedTokens);
  EXPECT_EQ(driver_->model().computed_tokens() - computed, kPromptTokens - kCachedTokens + 7);
  // What was computed behind it is sealed and can be hit.
  EXPECT_EQ(Run(PromptOf(kPromptTokens + 50, 3, Prompt(1))).cached_ram_tokens, kPromptTokens);
}

TEST_F(SchedulerArrivalTest, AStepLearnsNothingAboutPrefillFromItsWait) {
  EndLoadsAfterLayer0();
  const int64_t rate = driver_->scheduler().prefill_rate().tokens_per_second();
  ASSERT_GT(rate, 0);
  driver_->PretendStepsTake(absl::Seconds(1000000));
  // A suffix so long that its step would count more than any before.
  std::vector<uint32_t> prompt = PromptOf(450, 3, Prompt(1));
  const SequenceId id = driver_->Submit(prompt, 1);
  driver_->RunUntilEnded(driver_->num_ended() + 1);
  EXPECT_EQ(driver_->answer(id), ReferenceAnswer(prompt, 1, kBlockTokens));
  EXPECT_EQ(counters().arrived_prefixes, 1);
  EXPECT_EQ(driver_->scheduler().prefill_rate().tokens_per_second(), rate);
}

TEST_F(SchedulerArrivalTest, ABlockThatIsLostLateMakesTheStepVoid) {
  const std::vector<cachestore::BlockKey> keys =
      cachestore::ChainKeys(driver_->ns().root, Prompt(1), kBlockTokens);
  plan().FailLoadsOf(keys[10], absl::DataLossError("bad bytes"));
  EndLoadsAfterLayer0();
  EXPECT_EQ(Run(Prompt(1)).cached_disk_tokens, 10 * kBlockTokens);
  EXPECT_EQ(counters().void_steps, 1);
  EXPECT_EQ(counters().arrived_prefixes, 0);
}

TEST_F(SchedulerArrivalTest, AnArrivalThatStallsIsGivenUpWithinItsPatience) {
  driver_->PretendStepsTake(absl::ZeroDuration());
  const SequenceId id = driver_->Submit(Prompt(1), kNewTokens);
  const absl::Time begin = absl::Now();
  EXPECT_FALSE(driver_->Step(absl::Now()).chunks.empty());  // waits in vain
  EXPECT_LT(absl::Now() - begin, absl::Seconds(20));
  EXPECT_EQ(counters().void_steps, 1);
  // It waits for its loads like any other now, without holding up the thread.
  EXPECT_TRUE(driver_->Step(absl::Now()).chunks.empty());
  EXPECT_GT(driver_->scheduler().NextPlanTime(), absl::Now());
  plan().LetLoadsEnd();
  driver_->RunUntilEnded(driver_->num_ended() + 1);
  EXPECT_EQ(driver_->answer(id), ReferenceAnswer(Prompt(1), kNewTokens, kBlockTokens));
  EXPECT_EQ(driver_->result(id).cached_disk_tokens, kCachedTokens);
  EXPECT_EQ(counters().void_steps, 1);
}

TEST_F(SchedulerArrivalTest, WhoIsNotAloneIsLoadedByBlock) {
  const SequenceId other = driver_->Submit(PromptOf(20, 7), 50);
  driver_->Step(absl::Now());
  const SequenceId id = driver_->Submit(Prompt(1), kNewTokens);
  driver_->RunUntilEnded(driver_->num_ended() + 2);
  EXPECT_EQ(driver_->result(id).cached_disk_tokens, kCachedTokens);
  EXPECT_EQ(driver_->answer(other), ReferenceAnswer(PromptOf(20, 7), 50, kBlockTokens));
  EXPECT_EQ(counters().arrived_prefixes + counters().void_steps, 0);
}

}  // namespace
}  // namespace reprise::engine
