// A thousand requests in a little RAM over a disk whose loads fail now and then, with
// cancellations, deadlines, priorities and demotions at random moments: every sequence ends exactly
// once, those that finish give what they give undisturbed, and nothing is left behind.
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/engine/sched/scheduler_driver.h"
#include "tests/fakes/faulty_tier.h"
#include "tests/fakes/memory_backing_tier.h"
#include "tests/fakes/test_seed.h"

namespace reprise::engine {
namespace {

using Text = std::vector<uint32_t>;

constexpr int32_t kBlockTokens = 8;
constexpr int64_t kRamBlocks = 48;
constexpr int kRequests = 1000;
constexpr int kPrompts = 40;
constexpr int32_t kMaxNewTokens = 24;

class SchedulerStressTest : public testing::Test {
 protected:
  SchedulerStressTest() {
    cachestore::StoreOptions options;
    options.ram.capacity_bytes =
        kRamBlocks * static_cast<int64_t>(CheckingModel(1).layout(kBlockTokens).BytesPerBlock());
    auto store = cachestore::TieredStore::Open(
        options, std::make_unique<cachestore::FaultyTier>(
                     std::make_unique<cachestore::MemoryBackingTier>(64 << 20), faults_));
    EXPECT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
    driver_ = std::make_unique<SchedulerDriver>(
        store_.get(), kBlockTokens, SchedulerOptions{.step_tokens = 40, .max_running = 12});
    // Families of prompts with a common beginning, of 8 to 150 tokens.
    for (int i = 0; i < kPrompts; ++i) {
      const Text family = PromptOf(8 * (1 + i % 12), static_cast<uint32_t>(i % 5));
      prompts_.push_back(
          PromptOf(static_cast<int64_t>(family.size()) + random_() % 54, 100 + i, family));
    }
  }

  struct Submitted {
    size_t prompt;
    uint64_t seed;
    int32_t max_new_tokens;
  };

  void SubmitOne() {
    GenerateRequest request;
    const size_t prompt = random_() % prompts_.size();
    request.prompt = prompts_[prompt];
    request.stop.max_new_tokens = 1 + static_cast<int32_t>(random_() % kMaxNewTokens);
    request.sampling.seed = random_() % 2;
    request.num_samples = random_() % 8 == 0 ? 3 : 1;
    request.cache = random_() % 10 == 0 ? CacheMode::kOff : CacheMode::kUse;
    request.priority = static_cast<int32_t>(random_() % 3) - 1;
    request.tenant = std::string(1, static_cast<char>('a' + random_() % 3));
    if (random_() % 8 == 0) request.deadline = now_ + absl::Seconds(1 + random_() % 40);
    const SequenceId first = driver_->Submit(request);
    for (int32_t i = 0; i < request.num_samples; ++i) {
      submitted_[first + i] = {prompt, request.sampling.seed + i, request.stop.max_new_tokens};
    }
  }

  // One step, a second by the scheduler's clock, and sometimes a disturbance.
  void StepOnce() {
    now_ += absl::Seconds(1);
    const StepPlan plan = driver_->Step(now_);
    if (plan.chunks.empty()) {
      if (plan.starved_sequences > 0) {
        driver_->scheduler().AwaitRoom(absl::Now() + absl::Milliseconds(20));
      } else if (driver_->scheduler().num_admitted() > 0) {
        driver_->AwaitLoad();
      }
    }
    if (random_() % 12 == 0) {
      driver_->scheduler().Cancel(1 + random_() % submitted_.rbegin()->first, now_);
    }
    if (random_() % 40 == 0) {
      ASSERT_TRUE(store_->Demote().ok());
    }
  }

  // What `submitted` answers with everything to itself.
  const Text& AnswerAlone(size_t prompt, uint64_t seed) {
    Text& answer = alone_[{prompt, seed}];
    if (!answer.empty()) return answer;
    auto store = OpenStore(64, kBlockTokens);
    SchedulerDriver driver(store.get(), kBlockTokens);
    GenerateRequest request;
    request.prompt = prompts_[prompt];
    request.stop.max_new_tokens = kMaxNewTokens;
    request.sampling.seed = seed;
    request.cache = CacheMode::kOff;
    const SequenceId id = driver.Submit(request);
    driver.RunUntilEnded(1);
    return answer = driver.answer(id);
  }

  std::mt19937 random_{TestSeed()};
  absl::Time now_ = absl::Now();
  const std::shared_ptr<cachestore::FaultPlan> faults_ = std::make_shared<cachestore::FaultPlan>();
  std::unique_ptr<cachestore::TieredStore> store_;
  std::unique_ptr<SchedulerDriver> driver_;
  std::vector<Text> prompts_;
  std::map<SequenceId, Submitted> submitted_;
  std::map<std::pair<size_t, uint64_t>, Text> alone_;
};

TEST_F(SchedulerStressTest, AThousandDisturbedRequestsEndOnceAndRight) {
  faults_->FailOneLoadIn(7, absl::InternalError("the disk says no"));
  for (int i = 0; i < kRequests; ++i) {
    // By turns computing seems faster than every load, and slower.
    driver_->PretendStepsTake(i / 100 % 2 == 1 ? absl::Nanoseconds(40) : absl::Seconds(1));
    SubmitOne();
    // Bursts, so that requests wait, run and load beside each other.
    for (uint32_t steps = random_() % 5; steps > 0; --steps) StepOnce();
    if (HasFatalFailure()) return;
  }
  const absl::Time give_up = absl::Now() + absl::Minutes(2);
  while (driver_->num_ended() < submitted_.size()) {
    ASSERT_LT(absl::Now(), give_up) << driver_->num_ended() << " of " << submitted_.size();
    StepOnce();
  }
  EXPECT_TRUE(driver_->scheduler().TakeEnded().empty());

  int64_t finished = 0, cancelled = 0, overdue = 0, cached_disk_tokens = 0;
  for (const auto& [id, request] : submitted_) {
    const EndedSequence& ended = driver_->ended(id);
    if (!ended.status.ok()) {
      ASSERT_EQ(ended.status.code(), absl::StatusCode::kDeadlineExceeded) << ended.status;
      ++overdue;
      continue;
    }
    cached_disk_tokens += driver_->result(id).cached_disk_tokens;
    if (ended.reason == FinishReason::kCancelled) {
      ++cancelled;
      continue;
    }
    ++finished;
    Text expected = AnswerAlone(request.prompt, request.seed);
    expected.resize(static_cast<size_t>(request.max_new_tokens));
    ASSERT_EQ(driver_->answer(id), expected) << "sequence " << id;
  }
  // Each kind of disturbance really happened, and most requests went through it.
  const SchedulerCounters& counters = driver_->scheduler().counters();
  EXPECT_GT(finished, kRequests / 2);
  EXPECT_GT(cancelled, 20);
  EXPECT_GT(overdue, 5);
  EXPECT_EQ(overdue, counters.missed_deadlines);
  EXPECT_GT(counters.preemptions, 20);
  EXPECT_GT(counters.recomputed_tokens, 0);
  EXPECT_GT(counters.followed_blocks, 0);
  EXPECT_GT(cached_disk_tokens, 0);
  EXPECT_GT(counters.passed_over_tokens, 0);
  EXPECT_GT(store_->stats().missed_io_error_tokens, 0);
  EXPECT_EQ(driver_->model().wrong_positions(), 0);
  // Loads that were given up may still be under way.
  while (store_->stats().queued_transfers > 0) driver_->AwaitLoad();
  ExpectStoreAtRest(*store_);
}

}  // namespace
}  // namespace reprise::engine
