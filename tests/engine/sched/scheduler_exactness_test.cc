// Random requests over a real store in a little RAM, with demotions, cancellations and restarts in
// between: every answer must be the right one, and KV from RAM and from disk must really be used.
#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "tests/engine/sched/scheduler_driver.h"
#include "tests/fakes/test_seed.h"

namespace reprise::engine {
namespace {

struct Case {
  int32_t block_tokens;
  int64_t ram_blocks;
  int32_t step_tokens;
  int32_t max_running;
};

class SchedulerExactnessTest : public testing::TestWithParam<Case> {
 protected:
  using Text = std::vector<uint32_t>;

  // A new text, or one that goes on from a random place of an earlier one: of a recent one, which
  // may be in RAM, as often as of any.
  Text RandomPrompt(size_t max_tokens) {
    Text prompt;
    if (!texts_.empty() && random_() % 4 != 0) {
      const size_t among = random_() % 2 == 0 ? texts_.size() : std::min<size_t>(texts_.size(), 3);
      const Text& base = texts_[texts_.size() - 1 - random_() % among];
      prompt.assign(base.begin(), base.begin() + random_() % (base.size() + 1));
    }
    const size_t more = 1 + random_() % 40;
    for (size_t i = 0; i < more; ++i) prompt.push_back(random_() % 90);
    if (prompt.size() > max_tokens) prompt.resize(max_tokens);
    return prompt;
  }

  // One text twice in a row, and where there is a disk once more from there: whatever the random
  // requests shared, this reuses blocks of each tier. `num_ended`: requests that have ended before.
  void AskAgain(SchedulerDriver* driver, int num_ended) {
    const Text prompt(90, random_() % 90);
    for (int i = 1; i <= 3; ++i) {
      if (i == 3 && !driver->store()->Demote().ok()) break;
      const SequenceId id = driver->Submit(prompt, 6);
      driver->RunUntilEnded(num_ended + i);
      ASSERT_EQ(driver->answer(id), ReferenceAnswer(prompt, 6, GetParam().block_tokens));
      cached_ram_tokens_ += driver->result(id).cached_ram_tokens;
      cached_disk_tokens_ += driver->result(id).cached_disk_tokens;
    }
  }

  // Submits and steps at random until `num_requests` have ended, then compares all answers.
  void RunRound(cachestore::TieredStore* store, int num_requests) {
    const Case& c = GetParam();
    SchedulerDriver driver(store, c.block_tokens,
                           {.step_tokens = c.step_tokens, .max_running = c.max_running});
    const size_t max_tokens = driver.budget().usable_blocks() * c.block_tokens - 16;
    std::map<SequenceId, Text> prompts;
    std::map<SequenceId, int32_t> answer_tokens;
    for (int i = 0; i < num_requests; ++i) {
      Text prompt = RandomPrompt(std::min<size_t>(max_tokens, 150));
      const int32_t n = 1 + random_() % 16;
      const CacheMode cache = random_() % 8 == 0 ? CacheMode::kOff : CacheMode::kUse;
      const SequenceId id = driver.Submit(prompt, n, cache);
      prompts[id] = prompt;
      texts_.push_back(prompt);  // others may go on from it while it is running
      answer_tokens[id] = n;
      for (uint32_t steps = random_() % 8; steps > 0; --steps) driver.Step(absl::Now());
      if (random_() % 10 == 0) driver.scheduler().Cancel(1 + random_() % id, absl::Now());
      if (random_() % 6 == 0) {
        ASSERT_TRUE(store->Demote().ok());
      }
    }
    driver.RunUntilEnded(num_requests);
    for (const auto& [id, prompt] : prompts) {
      ASSERT_TRUE(driver.ended(id).status.ok()) << driver.ended(id).status;
      if (driver.ended(id).reason == FinishReason::kCancelled) continue;
      const Text& answer = driver.answer(id);
      ASSERT_EQ(answer, ReferenceAnswer(prompt, answer_tokens[id], c.block_tokens));
      Text text = prompt;
      text.insert(text.end(), answer.begin(), answer.end());
      texts_.push_back(std::move(text));
      ++compared_;
      cached_ram_tokens_ += driver.result(id).cached_ram_tokens;
      cached_disk_tokens_ += driver.result(id).cached_disk_tokens;
    }
    AskAgain(&driver, num_requests);
    EXPECT_EQ(driver.model().wrong_positions(), 0);
    ExpectStoreAtRest(*store);
  }

  std::mt19937 random_{TestSeed()};
  std::vector<Text> texts_;
  int64_t compared_ = 0;
  int64_t cached_ram_tokens_ = 0;
  int64_t cached_disk_tokens_ = 0;
};

TEST_P(SchedulerExactnessTest, EveryAnswerIsTheOneWithoutACache) {
  const TempFolder folder;
  for (int round = 0; round < 4; ++round) {
    const int64_t ram_blocks = GetParam().ram_blocks * (1 + round % 2);
    auto store = OpenStore(ram_blocks, GetParam().block_tokens, folder.path());
    RunRound(store.get(), 25);
    if (HasFatalFailure()) return;
    ASSERT_TRUE(store->Demote().ok());
  }
  EXPECT_GT(compared_, 60);
  EXPECT_GT(cached_ram_tokens_, 0);
  EXPECT_GT(cached_disk_tokens_, 0);
}

TEST_P(SchedulerExactnessTest, WithoutADiskAsWell) {
  auto store = OpenStore(GetParam().ram_blocks, GetParam().block_tokens);
  const Case& c = GetParam();
  SchedulerDriver driver(store.get(), c.block_tokens,
                         {.step_tokens = c.step_tokens, .max_running = c.max_running});
  for (uint32_t i = 0; i < 40; ++i) {
    const Text prompt = RandomPrompt(100);
    const SequenceId id = driver.Submit(prompt, 6);
    driver.RunUntilEnded(i + 1);
    ASSERT_EQ(driver.answer(id), ReferenceAnswer(prompt, 6, c.block_tokens));
    texts_.push_back(prompt);
    cached_ram_tokens_ += driver.result(id).cached_ram_tokens;
  }
  AskAgain(&driver, 40);
  EXPECT_GT(cached_ram_tokens_, 0);
  EXPECT_EQ(driver.model().wrong_positions(), 0);
  ExpectStoreAtRest(*store);
}

INSTANTIATE_TEST_SUITE_P(BlockSizes, SchedulerExactnessTest,
                         testing::Values(Case{8, 40, 16, 4}, Case{16, 20, 33, 6},
                                         Case{32, 12, 64, 3}));

}  // namespace
}  // namespace reprise::engine
