// Requests that share a prefix which is not cached yet: one of them computes it.
#include <vector>

#include "gtest/gtest.h"
#include "tests/engine/sched/scheduler_driver.h"

namespace reprise::engine {
namespace {

constexpr int32_t kBlockTokens = 8;

TEST(SchedulerFollowTest, ASharedPrefixIsComputedOnce) {
  auto store = OpenStore(128, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens, {.step_tokens = 128, .max_running = 8});
  const std::vector<uint32_t> prefix = PromptOf(100, 1);
  std::vector<std::vector<uint32_t>> prompts;
  for (uint32_t i = 0; i < 6; ++i) prompts.push_back(PromptOf(120, 10 + i, prefix));
  for (const auto& prompt : prompts) driver.Submit(prompt, 4);
  driver.Step(absl::Now());
  EXPECT_EQ(driver.scheduler().num_admitted(), 6);
  driver.RunUntilEnded(6);
  for (SequenceId id = 1; id <= 6; ++id) {
    EXPECT_EQ(driver.answer(id), ReferenceAnswer(prompts[id - 1], 4, kBlockTokens)) << id;
    EXPECT_EQ(driver.result(id).cached_ram_tokens, id == 1 ? 0 : 96);
  }
  // The first prompt, of the others what is behind the 12 shared blocks, and the answers.
  EXPECT_EQ(driver.model().computed_tokens(), 120 + 5 * 24 + 6 * 3);
  EXPECT_EQ(driver.scheduler().counters().followed_blocks, 5 * 12);
  EXPECT_EQ(store->stats().duplicate_seals, 0);
  EXPECT_EQ(driver.model().wrong_positions(), 0);
  ExpectStoreAtRest(*store);
}

TEST(SchedulerFollowTest, WhoComesWhileThePrefixIsComputedFollowsFromThere) {
  auto store = OpenStore(128, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens, {.step_tokens = 40, .max_running = 8});
  const std::vector<uint32_t> prompt = PromptOf(100, 2);
  driver.Submit(prompt, 4);
  driver.Step(absl::Now());  // 40 of 100 are there
  const SequenceId late = driver.Submit(PromptOf(70, 3, {prompt.begin(), prompt.begin() + 64}), 4);
  driver.RunUntilEnded(2);
  EXPECT_EQ(driver.scheduler().counters().followed_blocks, 3);
  EXPECT_EQ(driver.result(late).cached_ram_tokens, 64);
  EXPECT_EQ(driver.model().computed_tokens(), 100 + 6 + 2 * 3);
  EXPECT_EQ(driver.model().wrong_positions(), 0);
  ExpectStoreAtRest(*store);
}

TEST(SchedulerFollowTest, WhenTheLeaderGoesAFollowerTakesItsPlace) {
  auto store = OpenStore(128, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens, {.step_tokens = 64, .max_running = 8});
  const std::vector<uint32_t> prompt = PromptOf(100, 3);
  for (int i = 0; i < 3; ++i) driver.Submit(prompt, 4);
  driver.Step(absl::Now());
  ASSERT_EQ(driver.scheduler().counters().followed_blocks, 2 * 12);
  driver.scheduler().Cancel(1, absl::Now());
  driver.RunUntilEnded(3);
  EXPECT_EQ(driver.answer(2), ReferenceAnswer(prompt, 4, kBlockTokens));
  EXPECT_EQ(driver.answer(3), driver.answer(2));
  // What the leader had sealed is not lost; of the rest one computes all and the other the tail.
  EXPECT_EQ(driver.result(2).cached_ram_tokens, 64);
  EXPECT_EQ(driver.result(3).cached_ram_tokens, 96);
  EXPECT_EQ(driver.model().computed_tokens(), 100 + 4 + 2 * 3);
  ExpectStoreAtRest(*store);
}

TEST(SchedulerFollowTest, AHigherPriorityDoesNotWaitForALowerOne) {
  auto store = OpenStore(128, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens, {.step_tokens = 16, .max_running = 8});
  GenerateRequest request;
  request.prompt = PromptOf(100, 4);
  request.stop.max_new_tokens = 4;
  const SequenceId low = driver.Submit(request);
  driver.Step(absl::Now());
  request.priority = 1;
  const SequenceId high = driver.Submit(request);
  driver.Step(absl::Now());
  EXPECT_EQ(driver.first_steps(), (std::vector<SequenceId>{low, high}));
  EXPECT_EQ(driver.scheduler().counters().followed_blocks, 0);
  driver.RunUntilEnded(2);
  EXPECT_LT(driver.ended(high).ended, driver.ended(low).ended);
  EXPECT_EQ(driver.answer(low), driver.answer(high));
  EXPECT_EQ(driver.model().wrong_positions(), 0);
  ExpectStoreAtRest(*store);
}

TEST(SchedulerFollowTest, WithoutTheCacheNobodyFollows) {
  auto store = OpenStore(128, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens);
  const std::vector<uint32_t> prompt = PromptOf(40, 5);
  for (int i = 0; i < 2; ++i) driver.Submit(prompt, 2, CacheMode::kOff);
  driver.RunUntilEnded(2);
  EXPECT_EQ(driver.scheduler().counters().followed_blocks, 0);
  EXPECT_EQ(driver.model().computed_tokens(), 2 * 41);
}

}  // namespace
}  // namespace reprise::engine
