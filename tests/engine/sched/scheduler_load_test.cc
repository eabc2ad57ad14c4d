// Prefixes that come from disk: good ones, damaged ones, and loads that take too long.
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/engine/sched/gated_store.h"
#include "tests/engine/sched/scheduler_driver.h"

namespace reprise::engine {
namespace {

constexpr int32_t kBlockTokens = 8;

class SchedulerLoadTest : public testing::Test {
 protected:
  SchedulerLoadTest() : prompt_(PromptOf(200, 1)) {}

  // Leaves the prompt's blocks on disk, and nothing in RAM.
  void FillDisk() {
    auto store = OpenStore(64, kBlockTokens, folder_.path());
    SchedulerDriver driver(store.get(), kBlockTokens);
    driver.Submit(prompt_, 1);
    driver.RunUntilEnded(1);
    ASSERT_TRUE(store->Demote().ok());
    ASSERT_EQ(store->stats().disk_blocks, 25);
  }

  // Turns every byte of the large files around: those with payload.
  void DamagePayload() {
    int64_t damaged = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_.path())) {
      if (!entry.is_regular_file() || entry.file_size() < 25 * 4096) continue;
      std::ifstream in(entry.path(), std::ios::binary);
      std::string bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
      for (char& byte : bytes) byte = static_cast<char>(~byte);
      std::ofstream(entry.path(), std::ios::binary) << bytes;
      ++damaged;
    }
    ASSERT_GT(damaged, 0);
  }

  const TempFolder folder_;
  const std::vector<uint32_t> prompt_;
};

TEST_F(SchedulerLoadTest, APrefixFromDiskIsUsedAfterARestart) {
  FillDisk();
  auto store = OpenStore(64, kBlockTokens, folder_.path());
  SchedulerDriver driver(store.get(), kBlockTokens);
  const SequenceId id = driver.Submit(prompt_, 8);
  driver.RunUntilEnded(1);
  const GenerateResult result = driver.result(id);
  EXPECT_EQ(result.cached_disk_tokens, 192);
  EXPECT_EQ(result.cached_ram_tokens, 0);
  EXPECT_EQ(driver.model().computed_tokens(), 8 + 7);
  EXPECT_EQ(driver.model().wrong_positions(), 0);
  EXPECT_EQ(driver.answer(id), ReferenceAnswer(prompt_, 8, kBlockTokens));
  ExpectStoreAtRest(*store);
}

TEST_F(SchedulerLoadTest, ADamagedPrefixIsComputedAgain) {
  FillDisk();
  DamagePayload();
  auto store = OpenStore(64, kBlockTokens, folder_.path());
  SchedulerDriver driver(store.get(), kBlockTokens);
  const SequenceId id = driver.Submit(prompt_, 8);
  driver.RunUntilEnded(1);
  EXPECT_GT(store->stats().missed_corrupt_tokens, 0);
  EXPECT_EQ(driver.result(id).cached_disk_tokens, 0);
  EXPECT_EQ(driver.model().wrong_positions(), 0);
  EXPECT_EQ(driver.answer(id), ReferenceAnswer(prompt_, 8, kBlockTokens));
  ExpectStoreAtRest(*store);
}

TEST_F(SchedulerLoadTest, ALoadThatTakesTooLongIsGivenUpAndThePrefixComputed) {
  FillDisk();
  // Without any time to load, most loads are given up; the rest were done at once.
  int64_t given_up = 0;
  for (int round = 0; round < 20 && given_up == 0; ++round) {
    auto store = OpenStore(128, kBlockTokens, folder_.path());
    SchedulerDriver driver(store.get(), kBlockTokens, {.load_timeout = absl::ZeroDuration()});
    const SequenceId id = driver.Submit(prompt_, 8);
    driver.RunUntilEnded(1);
    given_up += driver.scheduler().counters().abandoned_loads;
    EXPECT_EQ(driver.answer(id), ReferenceAnswer(prompt_, 8, kBlockTokens));
    EXPECT_EQ(driver.model().wrong_positions(), 0);
  }
  EXPECT_GT(given_up, 0);
}

TEST(SchedulerGatedLoadTest, ALoadingRequestIsCancelledWithoutWaitingForItsLoad) {
  const std::vector<uint32_t> prompt = PromptOf(200, 1);
  GatedStore store(kBlockTokens);
  {
    SchedulerDriver driver(store.get(), kBlockTokens);
    driver.Submit(prompt, 1);
    driver.RunUntilEnded(1);
    ASSERT_TRUE(store.get()->Demote().ok());
  }
  store.Open();
  store.plan().CloseLoadGate();
  {
    SchedulerDriver driver(store.get(), kBlockTokens);
    const SequenceId id = driver.Submit(prompt, 8);
    EXPECT_TRUE(driver.Step(absl::Now()).chunks.empty());
    store.plan().AwaitLoads(1);
    // It is admitted and loads: there is nothing to compute until the load ends or is given up.
    EXPECT_EQ(driver.scheduler().num_admitted(), 1);
    EXPECT_TRUE(driver.Step(absl::Now()).chunks.empty());
    EXPECT_GT(driver.scheduler().NextPlanTime(), absl::Now());
    EXPECT_LT(driver.scheduler().NextPlanTime(), absl::InfiniteFuture());
    driver.scheduler().Cancel(id, absl::Now());
    EXPECT_TRUE(driver.Step(absl::Now()).chunks.empty());
    ASSERT_TRUE(driver.has_ended(id));  // with the gate still closed
    EXPECT_EQ(driver.ended(id).reason, FinishReason::kCancelled);
    EXPECT_EQ(driver.scheduler().num_admitted(), 0);
    EXPECT_EQ(driver.model().passes(), 0);
  }
  store.plan().OpenLoadGate();
  // The store is as good as before.
  SchedulerDriver driver(store.get(), kBlockTokens);
  const SequenceId id = driver.Submit(prompt, 8);
  driver.RunUntilEnded(1);
  EXPECT_EQ(driver.result(id).cached_disk_tokens + driver.result(id).cached_ram_tokens, 192);
  EXPECT_EQ(driver.answer(id), ReferenceAnswer(prompt, 8, kBlockTokens));
  ExpectStoreAtRest(*store.get());
}

TEST(SchedulerGatedLoadTest, WhoFollowsALoadingSequenceGivesNothingToPlan) {
  GatedStore store(kBlockTokens);
  const absl::Time now = absl::Now();
  {
    SchedulerDriver driver(store.get(), kBlockTokens, {.max_running = 2});
    GenerateRequest request;
    request.stop.max_new_tokens = 400;
    request.prompt = PromptOf(5, 1);
    request.priority = 2;
    const SequenceId highest = driver.Submit(request);
    request.prompt = PromptOf(5, 2);
    request.priority = 0;
    request.num_samples = 2;
    const SequenceId first = driver.Submit(request);
    for (int step = 0; step < 20; ++step) driver.Step(now);
    request.prompt = PromptOf(5, 3);
    request.priority = 1;
    request.num_samples = 1;
    const SequenceId high = driver.Submit(request);
    driver.Step(now);
    ASSERT_EQ(driver.scheduler().counters().preemptions, 1);
    driver.scheduler().Cancel(highest, now);
    driver.scheduler().Cancel(high, now);
    ASSERT_TRUE(store.get()->Demote().ok());
    store.plan().CloseLoadGate();

    // The first sample loads what it had answered; the second one has no full block to load.
    EXPECT_TRUE(driver.Step(now).chunks.empty());
    EXPECT_EQ(driver.scheduler().num_admitted(), 2);
    EXPECT_GT(driver.scheduler().NextPlanTime(), now);
    EXPECT_LT(driver.scheduler().NextPlanTime(), absl::InfiniteFuture());
    driver.scheduler().Cancel(first, now);
    EXPECT_EQ(driver.scheduler().NextPlanTime(), absl::InfinitePast());  // the second one's turn
    EXPECT_FALSE(driver.Step(now).chunks.empty());
    driver.scheduler().EndAll(absl::UnavailableError("over"), now);
  }
  store.plan().OpenLoadGate();
}

}  // namespace
}  // namespace reprise::engine
