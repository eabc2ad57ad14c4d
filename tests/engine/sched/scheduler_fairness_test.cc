// Who goes first: priorities, tenants, deadlines.
#include <algorithm>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/sched/scheduler_driver.h"

namespace reprise::engine {
namespace {

using testing::HasSubstr;

constexpr int32_t kBlockTokens = 8;

GenerateRequest RequestOf(uint32_t salt, int32_t max_new_tokens) {
  GenerateRequest request;
  request.prompt = PromptOf(16, salt);
  request.stop.max_new_tokens = max_new_tokens;
  return request;
}

TEST(SchedulerFairnessTest, AHigherPriorityTakesThePlaceOfALowerOne) {
  auto store = OpenStore(64, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens, {.max_running = 2});
  std::vector<SequenceId> ids;
  for (uint32_t i = 0; i < 2; ++i) ids.push_back(driver.Submit(RequestOf(i, 40)));
  for (int step = 0; step < 5; ++step) driver.Step(absl::Now());
  GenerateRequest urgent = RequestOf(2, 3);
  urgent.priority = 1;
  ids.push_back(driver.Submit(urgent));
  driver.Step(absl::Now());
  EXPECT_EQ(driver.scheduler().counters().preemptions, 1);
  while (!driver.has_ended(ids[2])) driver.Step(absl::Now());
  EXPECT_FALSE(driver.has_ended(ids[0]) || driver.has_ended(ids[1]));
  driver.RunUntilEnded(3);
  EXPECT_LT(driver.ended(ids[0]).ended, driver.ended(ids[1]).ended);  // the younger gave way
  EXPECT_EQ(driver.answer(ids[0]), ReferenceAnswer(PromptOf(16, 0), 40, kBlockTokens));
  EXPECT_EQ(driver.answer(ids[1]), ReferenceAnswer(PromptOf(16, 1), 40, kBlockTokens));
  EXPECT_EQ(driver.answer(ids[2]), ReferenceAnswer(PromptOf(16, 2), 3, kBlockTokens));
  ExpectStoreAtRest(*store);
}

TEST(SchedulerFairnessTest, EqualPrioritiesDoNotPreemptEachOtherForAPlace) {
  auto store = OpenStore(64, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens, {.max_running = 1});
  driver.Submit(RequestOf(1, 20));
  driver.Step(absl::Now());
  driver.Submit(RequestOf(2, 2));
  driver.RunUntilEnded(2);
  EXPECT_EQ(driver.scheduler().counters().preemptions, 0);
}

bool Holds(const StepPlan& plan, SequenceId id) {
  return std::any_of(plan.chunks.begin(), plan.chunks.end(),
                     [id](const PlannedChunk& chunk) { return chunk.sequence->id() == id; });
}

GenerateRequest UrgentRequestOf(std::vector<uint32_t> prompt, int32_t max_new_tokens) {
  GenerateRequest request;
  request.prompt = std::move(prompt);
  request.stop.max_new_tokens = max_new_tokens;
  request.priority = 1;
  return request;
}

TEST(SchedulerFairnessTest, PrefillBeforeAHigherPriorityIsNoReasonToPreempt) {
  auto store = OpenStore(256, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens, {.step_tokens = 16, .max_running = 8});
  for (uint32_t i = 1; i <= 2; ++i) driver.Submit(RequestOf(i, 40));
  for (int step = 0; step < 4; ++step) driver.Step(absl::Now());
  driver.Submit(UrgentRequestOf(PromptOf(200, 3), 2));
  const SequenceId second = driver.Submit(UrgentRequestOf(PromptOf(16, 4), 2));
  const StepPlan plan = driver.Step(absl::Now());
  EXPECT_EQ(driver.scheduler().num_waiting(), 1);  // the prompt before it is long enough
  EXPECT_TRUE(Holds(plan, 1) && Holds(plan, 2));
  while (!driver.has_ended(second)) driver.Step(absl::Now());
  EXPECT_EQ(driver.scheduler().counters().preemptions, 0);
  driver.RunUntilEnded(4);
}

TEST(SchedulerFairnessTest, WhoseBlocksWouldNotBeEnoughIsNotPreempted) {
  auto store = OpenStore(32, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens);
  ASSERT_EQ(driver.budget().usable_blocks(), 30);
  // 10 blocks, but 8 of them are also the larger one's, which has 21 and is as urgent as the next.
  const std::vector<uint32_t> prompt = PromptOf(160, 1);
  const SequenceId low = driver.Submit(PromptOf(72, 2, {prompt.begin(), prompt.begin() + 64}), 10);
  driver.Step(absl::Now());
  const SequenceId high = driver.Submit(UrgentRequestOf(prompt, 10));
  driver.Step(absl::Now());
  ASSERT_EQ(driver.scheduler().counters().cached_tokens, 64);
  const SequenceId next = driver.Submit(UrgentRequestOf(PromptOf(64, 3), 2));
  const StepPlan plan = driver.Step(absl::Now());
  EXPECT_TRUE(Holds(plan, low) && Holds(plan, high));
  EXPECT_EQ(driver.scheduler().num_waiting(), 1);
  driver.RunUntilEnded(3);
  EXPECT_EQ(driver.scheduler().counters().preemptions, 0);
  EXPECT_EQ(driver.answer(next), ReferenceAnswer(PromptOf(64, 3), 2, kBlockTokens));
  ExpectStoreAtRest(*store);
}

TEST(SchedulerFairnessTest, NoMoreArePreemptedThanBlocksAreShort) {
  auto store = OpenStore(32, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens);
  for (uint32_t i = 1; i <= 3; ++i) driver.Submit(PromptOf(48, i), 10);
  driver.Step(absl::Now());
  const SequenceId high = driver.Submit(UrgentRequestOf(PromptOf(96, 4), 2));
  const StepPlan plan = driver.Step(absl::Now());
  EXPECT_TRUE(Holds(plan, 1) && Holds(plan, 2) && Holds(plan, high));
  EXPECT_EQ(driver.scheduler().counters().preemptions, 1);
  driver.RunUntilEnded(4);
  ExpectStoreAtRest(*store);
}

TEST(SchedulerFairnessTest, WithoutFreeSlotsNoMoreArePreemptedThanSlotsAreShort) {
  auto store = OpenStore(16, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens, {.stall_preemption = absl::Seconds(100)});
  std::vector<cachestore::WritableBlock> held;  // slots that somebody else writes
  for (int i = 0; i < 13; ++i) held.push_back(*store->Allocate(driver.ns()));
  for (uint32_t i = 1; i <= 3; ++i) driver.Submit(PromptOf(8, i), 10);
  driver.Step(absl::Now());
  ASSERT_EQ(driver.Step(absl::Now()).starved_sequences, 3);
  const SequenceId high = driver.Submit(UrgentRequestOf(PromptOf(8, 4), 1));
  const StepPlan plan = driver.Step(absl::Now());
  EXPECT_TRUE(driver.has_ended(high));
  EXPECT_TRUE(Holds(plan, 1));  // one slot for each
  EXPECT_EQ(driver.scheduler().counters().preemptions, 2);
  held.clear();
  driver.RunUntilEnded(4);
  ExpectStoreAtRest(*store);
}

TEST(SchedulerFairnessTest, AFloodOfOneTenantDelaysAnotherByOneRequest) {
  auto store = OpenStore(64, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens, {.max_running = 1});
  GenerateRequest flood = RequestOf(1, 4);
  flood.tenant = "flood";
  for (int i = 0; i < 30; ++i) driver.Submit(flood);
  driver.Step(absl::Now());
  GenerateRequest other = RequestOf(2, 4);
  other.tenant = "other";
  const SequenceId id = driver.Submit(other);
  while (!driver.has_ended(id)) driver.Step(absl::Now());
  EXPECT_TRUE(driver.has_ended(1));  // ran already
  EXPECT_FALSE(driver.has_ended(3));
  driver.RunUntilEnded(31);
}

TEST(SchedulerFairnessTest, AFloodOfLongPromptsDelaysAnotherByOnePrompt) {
  auto store = OpenStore(256, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens, {.step_tokens = 16, .max_running = 8});
  GenerateRequest flood = RequestOf(1, 1);
  flood.tenant = "flood";
  for (uint32_t i = 1; i <= 6; ++i) {
    flood.prompt = PromptOf(200, i);
    driver.Submit(flood);
  }
  driver.Step(absl::Now());
  // There is room for more, but they would only take places before the other.
  EXPECT_EQ(driver.scheduler().num_admitted(), 1);
  GenerateRequest other = RequestOf(9, 1);
  other.tenant = "other";
  const SequenceId id = driver.Submit(other);
  while (!driver.has_ended(id)) driver.Step(absl::Now());
  EXPECT_EQ(driver.first_steps()[1], id);
  EXPECT_TRUE(driver.has_ended(1));
  EXPECT_FALSE(driver.has_ended(2));
  driver.RunUntilEnded(7);
}

TEST(SchedulerFairnessTest, LongAnswersCountAgainstTheirTenant) {
  auto store = OpenStore(64, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens, {.max_running = 1});
  for (uint32_t i = 1; i <= 9; ++i) {
    GenerateRequest request = RequestOf(i, i <= 3 ? 20 : 1);
    request.tenant = i <= 3 ? "long" : "short";
    driver.Submit(request);
  }
  driver.RunUntilEnded(9);
  // 16 + 20 tokens of the one are as much as two times 16 + 1 of the other, and a little.
  EXPECT_THAT(driver.first_steps(), testing::ElementsAre(1, 4, 5, 6, 2, 7, 8, 3, 9));
}

TEST(SchedulerFairnessTest, ADeadlineEndsARequestWhereverItIs) {
  auto store = OpenStore(64, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens, {.max_running = 1});
  const absl::Time start = absl::Now();
  GenerateRequest hasty = RequestOf(1, 100);
  hasty.deadline = start + absl::Seconds(10);
  const SequenceId running = driver.Submit(hasty);
  hasty.deadline = start + absl::Seconds(5);
  const SequenceId waiting = driver.Submit(hasty);
  const SequenceId patient = driver.Submit(RequestOf(2, 3));
  for (int step = 0; step < 4; ++step) driver.Step(start);
  EXPECT_FALSE(driver.has_ended(waiting));
  ASSERT_GT(store->stats().pinned_blocks + store->stats().writing_blocks, 0);

  driver.Step(start + absl::Seconds(5));
  ASSERT_TRUE(driver.has_ended(waiting));
  EXPECT_EQ(driver.ended(waiting).status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(driver.ended(waiting).status.message(), HasSubstr("after 0 new tokens"));
  EXPECT_FALSE(driver.has_ended(running));

  driver.Step(start + absl::Seconds(11));
  ASSERT_TRUE(driver.has_ended(running));
  EXPECT_EQ(driver.ended(running).status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(driver.ended(running).status.message(), HasSubstr("after 5 new tokens"));
  driver.RunUntilEnded(3);
  EXPECT_TRUE(driver.ended(patient).status.ok());
  EXPECT_EQ(driver.scheduler().counters().missed_deadlines, 2);
  ExpectStoreAtRest(*store);
}

TEST(SchedulerFairnessTest, ThePlanIsDueWhenADeadlinePasses) {
  auto store = OpenStore(64, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens);
  EXPECT_EQ(driver.scheduler().NextPlanTime(), absl::InfiniteFuture());
  GenerateRequest request = RequestOf(1, 3);
  request.deadline = absl::Now() + absl::Hours(1);
  driver.Submit(request);
  driver.RunUntilEnded(1);
  // It ended before: nothing is left to look at.
  EXPECT_EQ(driver.scheduler().NextPlanTime(), absl::InfiniteFuture());
  EXPECT_EQ(driver.scheduler().counters().missed_deadlines, 0);
}

}  // namespace
}  // namespace reprise::engine
