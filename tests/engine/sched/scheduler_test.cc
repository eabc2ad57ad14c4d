#include "engine/sched/scheduler.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/sched/scheduler_driver.h"

namespace reprise::engine {
namespace {

using cachestore::WritableBlock;
using testing::HasSubstr;

constexpr int32_t kBlockTokens = 8;

int64_t PlannedTokens(const StepPlan& plan) {
  int64_t tokens = 0;
  for (const PlannedChunk& chunk : plan.chunks) tokens += chunk.num_tokens;
  return tokens;
}

TEST(SchedulerTest, PrefillIsCutIntoChunksAndTheAnswerIsRight) {
  auto store = OpenStore(64, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens, {.step_tokens = 7, .max_running = 4});
  const std::vector<uint32_t> prompt = PromptOf(50, 1);
  const SequenceId id = driver.Submit(prompt, 20);
  driver.RunUntilEnded(1);
  EXPECT_EQ(driver.answer(id), ReferenceAnswer(prompt, 20, kBlockTokens));
  EXPECT_EQ(driver.model().passes(), 8 + 19);  // ceil(50 / 7) chunks, then one token a step
  EXPECT_EQ(driver.model().wrong_positions(), 0);
  EXPECT_EQ(driver.scheduler().counters().prefilled_tokens, 50);
  ExpectStoreAtRest(*store);
}

TEST(SchedulerTest, ASecondTurnComputesOnlyWhatIsNew) {
  auto store = OpenStore(64, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens);
  const std::vector<uint32_t> first = PromptOf(43, 2);
  const SequenceId first_id = driver.Submit(first, 21);
  driver.RunUntilEnded(1);

  std::vector<uint32_t> second = first;
  second.insert(second.end(), driver.answer(first_id).begin(), driver.answer(first_id).end());
  second = PromptOf(80, 9, second);
  const int64_t computed_before = driver.model().computed_tokens();
  const SequenceId second_id = driver.Submit(second, 10);
  driver.RunUntilEnded(2);

  // 43 + 21 tokens, the last without KV: 7 full blocks, most of the answer among them.
  const GenerateResult result = driver.result(second_id);
  EXPECT_EQ(result.cached_ram_tokens, 56);
  EXPECT_EQ(result.cached_disk_tokens, 0);
  EXPECT_EQ(driver.model().computed_tokens() - computed_before, 80 - 56 + 9);
  EXPECT_EQ(driver.answer(second_id), ReferenceAnswer(second, 10, kBlockTokens));
  EXPECT_EQ(driver.model().wrong_positions(), 0);
  ExpectStoreAtRest(*store);
}

// Writes down the requests that a store sees.
class SeenRequests final : public cachestore::RequestObserver {
 public:
  using Use = cachestore::RequestHints::Use;
  struct Seen {
    uint64_t number = 0;
    Use use = Use::kPart;
    size_t matched = 0;
    friend bool operator==(const Seen&, const Seen&) = default;
  };
  void OnRequest(const cachestore::StoreRequest& request) override {
    if (request.hints.use == Use::kPart) return;
    seen_.push_back({request.hints.request, request.hints.use, request.matched.size()});
  }
  void OnEnd(const cachestore::StoreRequestEnd&) override {}
  const std::vector<Seen>& seen() const { return seen_; }

 private:
  std::vector<Seen> seen_;
};

TEST(SchedulerTest, TheStoreIsToldWhatAWaitingRequestWillLookUp) {
  using Use = SeenRequests::Use;
  auto store = OpenStore(64, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens, {.max_running = 1});
  const std::vector<uint32_t> cached = PromptOf(41, 1);
  driver.Submit(cached, 1);
  driver.RunUntilEnded(1);
  const auto seen = std::make_shared<SeenRequests>();
  store->Watch(seen);
  // The first one is admitted at once, the others wait; of samples only the first looks up.
  const SequenceId running = driver.Submit(PromptOf(20, 2), 5);
  GenerateRequest samples;
  samples.prompt = cached;
  samples.stop.max_new_tokens = 1;
  samples.num_samples = 2;
  const SequenceId waiting = driver.Submit(std::move(samples));
  driver.Submit(cached, 1, CacheMode::kOff);
  driver.RunUntilEnded(5);
  EXPECT_EQ(seen->seen(), (std::vector<SeenRequests::Seen>{{running + 1, Use::kRequest, 0},
                                                           {waiting + 1, Use::kAhead, 5},
                                                           {waiting + 1, Use::kRequest, 5}}));
  store->Watch(nullptr);
}

TEST(SchedulerTest, OneWrongByteInACachedBlockIsNoticed) {
  auto store = OpenStore(64, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens);
  const std::vector<uint32_t> prompt = PromptOf(40, 3);
  driver.model().CorruptNextWriteOf(17);
  driver.Submit(prompt, 1);
  driver.RunUntilEnded(1);
  ASSERT_EQ(driver.model().wrong_positions(), 0);  // written, not yet read

  const SequenceId id = driver.Submit(prompt, 10);
  driver.RunUntilEnded(2);
  EXPECT_EQ(driver.result(id).cached_ram_tokens, 32);
  EXPECT_GT(driver.model().wrong_positions(), 0);
  EXPECT_NE(driver.answer(id), ReferenceAnswer(prompt, 10, kBlockTokens));
}

TEST(SchedulerTest, CacheOffNeitherTakesNorLeavesBlocks) {
  auto store = OpenStore(64, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens);
  const std::vector<uint32_t> prompt = PromptOf(40, 4);
  const SequenceId first = driver.Submit(prompt, 12, CacheMode::kOff);
  driver.RunUntilEnded(1);
  EXPECT_EQ(store->stats().sealed_blocks, 0);
  driver.Submit(prompt, 12);  // leaves blocks
  driver.RunUntilEnded(2);
  const int64_t looked_up = store->stats().looked_up_tokens;
  ASSERT_GT(looked_up, 0);
  const SequenceId third = driver.Submit(prompt, 12, CacheMode::kOff);
  driver.RunUntilEnded(3);
  EXPECT_EQ(store->stats().looked_up_tokens, looked_up);
  EXPECT_EQ(driver.result(third).cached_ram_tokens, 0);
  EXPECT_EQ(driver.answer(first), driver.answer(third));
  ExpectStoreAtRest(*store);
}

TEST(SchedulerTest, DecodeGoesOnWhileALongPromptIsPrefilled) {
  auto store = OpenStore(128, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens, {.step_tokens = 16, .max_running = 4});
  const SequenceId talker = driver.Submit(PromptOf(8, 5), 30);
  driver.Step(absl::Now());
  const SequenceId reader = driver.Submit(PromptOf(200, 6), 2);
  for (int step = 0; step < 12; ++step) {
    const StepPlan plan = driver.Step(absl::Now());
    ASSERT_EQ(plan.chunks.size(), 2u);
    EXPECT_EQ(plan.chunks[0].num_tokens, 1);   // decode first
    EXPECT_EQ(plan.chunks[1].num_tokens, 15);  // the rest of the step
  }
  EXPECT_EQ(driver.answer(talker).size(), 13u);
  driver.RunUntilEnded(2);
  EXPECT_EQ(driver.answer(reader), ReferenceAnswer(PromptOf(200, 6), 2, kBlockTokens));
  EXPECT_EQ(driver.model().wrong_positions(), 0);
}

TEST(SchedulerTest, AStepNeverHasMoreThanItsTokensNorMoreSequencesThanAllowed) {
  auto store = OpenStore(256, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens, {.step_tokens = 10, .max_running = 3});
  for (uint32_t i = 0; i < 8; ++i) driver.Submit(PromptOf(20 + i, i), 5);
  int64_t full_steps = 0;
  while (driver.scheduler().num_waiting() + driver.scheduler().num_admitted() > 0) {
    const StepPlan plan = driver.Step(absl::Now());
    ASSERT_LE(PlannedTokens(plan), 10);
    ASSERT_LE(plan.chunks.size(), 3u);
    full_steps += PlannedTokens(plan) == 10 ? 1 : 0;
  }
  EXPECT_GT(full_steps, 5);
  for (uint32_t i = 0; i < 8; ++i) {
    EXPECT_EQ(driver.answer(i + 1), ReferenceAnswer(PromptOf(20 + i, i), 5, kBlockTokens));
  }
}

TEST(SchedulerTest, RequestsAreAdmittedInTheirOrder) {
  auto store = OpenStore(8, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens);
  driver.Submit(PromptOf(8, 1), 30);                           // 1 block now
  const SequenceId large = driver.Submit(PromptOf(48, 2), 4);  // 6 blocks, too many beside it
  const SequenceId small = driver.Submit(PromptOf(8, 3), 1);   // would fit, but came later
  driver.Step(absl::Now());
  EXPECT_EQ(driver.scheduler().num_admitted(), 1);
  EXPECT_FALSE(driver.has_ended(small));
  driver.RunUntilEnded(3);
  EXPECT_EQ(driver.first_steps(), (std::vector<SequenceId>{1, large, small}));
}

TEST(SchedulerTest, ARequestIsCancelledInEveryState) {
  auto store = OpenStore(64, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens, {.step_tokens = 8, .max_running = 2});
  const SequenceId prefilling = driver.Submit(PromptOf(14, 1), 5);
  const SequenceId other = driver.Submit(PromptOf(8, 2), 3);
  const SequenceId waiting = driver.Submit(PromptOf(30, 3), 5);
  driver.Step(absl::Now());
  ASSERT_EQ(driver.scheduler().num_waiting(), 1);
  ASSERT_GT(store->stats().pinned_blocks, 0);
  driver.scheduler().Cancel(waiting, absl::Now());
  driver.scheduler().Cancel(prefilling, absl::Now());
  driver.scheduler().Cancel(12345, absl::Now());
  driver.RunUntilEnded(3);
  for (SequenceId id : {prefilling, waiting}) {
    EXPECT_TRUE(driver.ended(id).status.ok());
    EXPECT_EQ(driver.ended(id).reason, FinishReason::kCancelled);
    EXPECT_EQ(driver.result(id).new_tokens, 0);
  }
  EXPECT_EQ(driver.answer(other), ReferenceAnswer(PromptOf(8, 2), 3, kBlockTokens));

  const SequenceId decoding = driver.Submit(PromptOf(8, 4), 50);
  for (int step = 0; step < 5; ++step) driver.Step(absl::Now());
  driver.scheduler().Cancel(decoding, absl::Now());
  driver.RunUntilEnded(4);
  EXPECT_EQ(driver.result(decoding).new_tokens, 5);
  ExpectStoreAtRest(*store);
}

TEST(SchedulerTest, AFailedPassEndsItsSequencesAndNoOthers) {
  auto store = OpenStore(64, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens, {.step_tokens = 8, .max_running = 1});
  const SequenceId failing = driver.Submit({1, 2, CheckingModel::kFailToken}, 5);
  const SequenceId good = driver.Submit({1, 2, 3}, 5);
  driver.RunUntilEnded(2);
  EXPECT_EQ(driver.ended(failing).status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(driver.answer(good), ReferenceAnswer({1, 2, 3}, 5, kBlockTokens));
  ExpectStoreAtRest(*store);
}

TEST(SchedulerTest, ASequenceWithoutRoomWaitsAndGoesOnWhenThereIsRoom) {
  auto store = OpenStore(8, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens);
  std::vector<WritableBlock> held;  // slots that somebody else writes
  for (int i = 0; i < 6; ++i) held.push_back(*store->Allocate(driver.ns()));
  const std::vector<uint32_t> prompt = PromptOf(32, 7);
  const SequenceId id = driver.Submit(prompt, 9);
  EXPECT_EQ(PlannedTokens(driver.Step(absl::Now())), 16);  // as far as two slots go
  const StepPlan starved = driver.Step(absl::Now());
  EXPECT_TRUE(starved.chunks.empty());
  EXPECT_EQ(starved.starved_sequences, 1);
  EXPECT_EQ(driver.scheduler().counters().starved_plans, 1);
  held.clear();
  driver.scheduler().AwaitRoom(absl::Now() + absl::Seconds(30));
  driver.RunUntilEnded(1);
  EXPECT_EQ(driver.answer(id), ReferenceAnswer(prompt, 9, kBlockTokens));
  ExpectStoreAtRest(*store);
}

TEST(SchedulerTest, APermanentStallEndsTheOnlySequence) {
  auto store = OpenStore(8, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens, {.stall_timeout = absl::Seconds(30)});
  std::vector<WritableBlock> held;
  for (int i = 0; i < 7; ++i) held.push_back(*store->Allocate(driver.ns()));
  const absl::Time start = absl::Now();
  const SequenceId id = driver.Submit(PromptOf(8, 1), 20);  // gets one slot, then no more
  int64_t steps = 0;
  while (!driver.Step(start).chunks.empty()) ++steps;
  ASSERT_EQ(steps, 1);
  driver.Step(start + absl::Seconds(29));
  EXPECT_FALSE(driver.has_ended(id));
  driver.Step(start + absl::Seconds(31));
  ASSERT_TRUE(driver.has_ended(id));
  EXPECT_EQ(driver.ended(id).status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(driver.ended(id).status.message(), HasSubstr("no RAM slot came free"));
  held.clear();
  ExpectStoreAtRest(*store);
}

TEST(SchedulerTest, IdenticalPromptsAtOnceShareTheirBlocksInTheEnd) {
  auto store = OpenStore(64, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens);
  const std::vector<uint32_t> prompt = PromptOf(40, 8);
  for (int i = 0; i < 3; ++i) driver.Submit(prompt, 10);
  driver.RunUntilEnded(3);
  EXPECT_GT(store->stats().duplicate_seals, 0);
  EXPECT_EQ(store->stats().ram_blocks, 6);  // 49 computed positions
  for (SequenceId id = 1; id <= 3; ++id) {
    EXPECT_EQ(driver.answer(id), ReferenceAnswer(prompt, 10, kBlockTokens));
  }
  EXPECT_EQ(driver.model().wrong_positions(), 0);
  ExpectStoreAtRest(*store);
}

TEST(SchedulerTest, EndAllGivesEverySequenceBackOnce) {
  auto store = OpenStore(64, kBlockTokens);
  SchedulerDriver driver(store.get(), kBlockTokens, {.step_tokens = 8, .max_running = 2});
  for (uint32_t i = 0; i < 5; ++i) driver.Submit(PromptOf(30, i), 5);
  driver.Step(absl::Now());
  driver.scheduler().EndAll(absl::UnavailableError("over"), absl::Now());
  driver.RunUntilEnded(5);
  for (SequenceId id = 1; id <= 5; ++id) {
    EXPECT_EQ(driver.ended(id).status.code(), absl::StatusCode::kUnavailable);
  }
  EXPECT_EQ(driver.scheduler().NextPlanTime(), absl::InfiniteFuture());
  ExpectStoreAtRest(*store);
}

}  // namespace
}  // namespace reprise::engine
