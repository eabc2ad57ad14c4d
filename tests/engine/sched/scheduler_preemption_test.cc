// Sequences that outgrow the RAM tier together: one gives its blocks back, waits, and goes on as if
// nothing had happened.
#include <cstdint>
#include <vector>

#include "gtest/gtest.h"
#include "tests/engine/sched/scheduler_driver.h"

namespace reprise::engine {
namespace {

using cachestore::WritableBlock;

constexpr int32_t kBlockTokens = 8;

bool Holds(const StepPlan& plan, SequenceId id) {
  return std::any_of(plan.chunks.begin(), plan.chunks.end(),
                     [id](const PlannedChunk& chunk) { return chunk.sequence->id() == id; });
}

// Steps until a sequence has been preempted; returns the plan of that step.
StepPlan StepUntilPreempted(SchedulerDriver& driver) {
  for (int step = 0; step < 1000; ++step) {
    StepPlan plan = driver.Step(absl::Now());
    if (driver.scheduler().counters().preemptions > 0) return plan;
  }
  ADD_FAILURE() << "nothing was preempted";
  return {};
}

TEST(SchedulerPreemptionTest, TheYoungestGivesWayAndComputesOnlyWhatIsGone) {
  auto store = OpenStore(10, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens);
  ASSERT_EQ(driver.budget().usable_blocks(), 10);
  // Each needs 2 blocks at its start and 4 at its end.
  for (uint32_t i = 1; i <= 3; ++i) driver.Submit(PromptOf(16, i), 17);
  driver.Step(absl::Now());
  EXPECT_EQ(driver.scheduler().num_admitted(), 3);
  const StepPlan plan = StepUntilPreempted(driver);
  EXPECT_TRUE(Holds(plan, 1) && Holds(plan, 2));
  EXPECT_FALSE(Holds(plan, 3));
  EXPECT_EQ(driver.scheduler().num_waiting(), 1);
  driver.RunUntilEnded(3);
  for (uint32_t i = 1; i <= 3; ++i) {
    EXPECT_EQ(driver.answer(i), ReferenceAnswer(PromptOf(16, i), 17, kBlockTokens)) << i;
    EXPECT_EQ(driver.result(i).new_tokens, 17);
    EXPECT_EQ(driver.result(i).cached_ram_tokens, 0);  // what came back was its own
  }
  const SchedulerCounters& counters = driver.scheduler().counters();
  EXPECT_EQ(counters.preemptions, 1);
  // Of its three blocks the two others needed the slot of one, the last.
  EXPECT_EQ(counters.recomputed_tokens, 8);
  EXPECT_EQ(counters.prefilled_tokens, 48);
  EXPECT_EQ(counters.admitted_sequences, 3);
  EXPECT_EQ(counters.starved_plans, 0);
  EXPECT_EQ(driver.model().wrong_positions(), 0);
  ExpectStoreAtRest(*store);
}

TEST(SchedulerPreemptionTest, WithoutTheCacheEverythingIsComputedAgain) {
  auto store = OpenStore(10, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens);
  for (uint32_t i = 1; i <= 3; ++i) driver.Submit(PromptOf(16, i), 17, CacheMode::kOff);
  StepUntilPreempted(driver);
  driver.RunUntilEnded(3);
  for (uint32_t i = 1; i <= 3; ++i) {
    EXPECT_EQ(driver.answer(i), ReferenceAnswer(PromptOf(16, i), 17, kBlockTokens)) << i;
  }
  EXPECT_EQ(driver.scheduler().counters().recomputed_tokens, 24);
  EXPECT_EQ(driver.model().wrong_positions(), 0);
  ExpectStoreAtRest(*store);
}

TEST(SchedulerPreemptionTest, TheOldestReachesItsEndUndisturbed) {
  auto store = OpenStore(16, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens, {.step_tokens = 32, .max_running = 8});
  // Each could fill the whole tier alone.
  const int32_t new_tokens =
      static_cast<int32_t>(driver.budget().usable_blocks()) * kBlockTokens - 7;
  for (uint32_t i = 1; i <= 6; ++i) driver.Submit(PromptOf(8, i), new_tokens);
  for (SequenceId oldest = 1; oldest <= 6; ++oldest) {
    while (!driver.has_ended(oldest)) {
      const StepPlan plan = driver.Step(absl::Now());
      ASSERT_TRUE(plan.chunks.empty() || driver.has_ended(oldest) || Holds(plan, oldest));
    }
    EXPECT_EQ(driver.answer(oldest),
              ReferenceAnswer(PromptOf(8, oldest), new_tokens, kBlockTokens));
  }
  EXPECT_GE(driver.scheduler().counters().preemptions, 5);
  EXPECT_EQ(driver.model().wrong_positions(), 0);
  ExpectStoreAtRest(*store);
}

TEST(SchedulerPreemptionTest, SequencesThatShareTheirPrefixNeedItsSlotsOnce) {
  auto store = OpenStore(16, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens);
  const std::vector<uint32_t> prefix = PromptOf(64, 1);
  driver.Submit(prefix, 1);
  driver.RunUntilEnded(1);
  // 9 blocks each, 8 of them the same: 11 together, with room to grow.
  for (uint32_t i = 2; i <= 4; ++i) driver.Submit(PromptOf(66, i, prefix), 6);
  driver.Step(absl::Now());
  driver.Step(absl::Now());
  EXPECT_EQ(driver.scheduler().num_admitted(), 3);
  driver.RunUntilEnded(4);
  EXPECT_EQ(driver.scheduler().counters().preemptions, 0);
  ExpectStoreAtRest(*store);
}

TEST(SchedulerPreemptionTest, SlotsThatOthersHoldCostTheYoungestItsPlace) {
  auto store = OpenStore(8, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens,
                         {.max_running = 4, .stall_preemption = absl::Seconds(2)});
  std::vector<WritableBlock> held;  // slots that somebody else writes
  for (int i = 0; i < 6; ++i) held.push_back(*store->Allocate(driver.ns()));
  const absl::Time start = absl::Now();
  const SequenceId older = driver.Submit(PromptOf(8, 1), 8);    // gets one slot, then no more
  const SequenceId younger = driver.Submit(PromptOf(8, 2), 8);  // likewise
  int64_t steps = 0;
  while (!driver.Step(start).chunks.empty()) ++steps;
  ASSERT_EQ(steps, 1);
  driver.Step(start + absl::Seconds(1));
  EXPECT_EQ(driver.scheduler().counters().preemptions, 0);
  driver.Step(start + absl::Seconds(3));
  EXPECT_EQ(driver.scheduler().counters().preemptions, 1);
  // The slot of the younger is enough for the older.
  EXPECT_TRUE(Holds(driver.Step(start + absl::Seconds(3)), older));
  while (!driver.has_ended(older)) driver.Step(start + absl::Seconds(3));
  EXPECT_FALSE(driver.has_ended(younger));
  held.clear();
  driver.RunUntilEnded(2);
  for (SequenceId id : {older, younger}) {
    EXPECT_TRUE(driver.ended(id).status.ok());
    EXPECT_EQ(driver.answer(id), ReferenceAnswer(PromptOf(8, id), 8, kBlockTokens));
  }
  ExpectStoreAtRest(*store);
}

}  // namespace
}  // namespace reprise::engine
