// ModelRunner runs steps whose prefix is still being loaded.
#include "engine/run/prefix_arrival.h"

#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/run/model_runner.h"
#include "gtest/gtest.h"
#include "tests/engine/sched/gated_store.h"
#include "tests/engine/sched/scheduler_driver.h"

namespace reprise::engine {
namespace {

constexpr int32_t kBlockTokens = 8;
constexpr int64_t kPromptTokens = 200;

class PrefixArrivalTest : public testing::Test {
 protected:
  // Prompts 1 and 2 are on the tier only, and loads by layer stop after the first of two layers;
  // scheduler and store know their speed.
  void SetUp() override {
    {
      SchedulerDriver driver(store_.get(), kBlockTokens);
      for (const uint32_t salt : {1, 2}) driver.Submit(PromptOf(kPromptTokens, salt), 1);
      driver.RunUntilEnded(2);
      ASSERT_TRUE(store_.get()->Demote().ok());
    }
    ns_ = OpenNamespace(store_.get(), kBlockTokens);
    scheduler_.emplace(
        SchedulerOptions(),
        BlockBudget(store_.get()->capacity_blocks(*ns_), kBlockTokens, kMaxPositions), store_.get(),
        [] {});
    runner_.emplace(&model_, backend_.get(), ns_->layout);
    RunToEnd(PromptOf(100, 9));
    plan().SlowLoadsDown(absl::Milliseconds(50));
    RunToEnd(PromptOf(kPromptTokens, 2));
    plan().SlowLoadsDown(absl::ZeroDuration());
    plan().HoldLoadsBehind(ns_->layout.PartOffset(1, 0));
  }
  void TearDown() override {
    scheduler_->EndAll(absl::OkStatus(), absl::Now());
    scheduler_.reset();
    plan().LetLoadsEnd();
  }

  cachestore::FaultPlan& plan() { return store_.plan(); }
  void Submit(std::vector<uint32_t> prompt) {
    GenerateRequest request;
    request.prompt = std::move(prompt);
    scheduler_->Submit(
        std::make_unique<Sequence>(next_id_++, *ns_, std::move(request), absl::Now()));
  }
  // One token; every step counts as taking 100 s.
  void RunToEnd(const std::vector<uint32_t>& prompt) {
    Submit(prompt);
    while (scheduler_->TakeEnded().empty()) {
      const StepPlan step = scheduler_->Plan(absl::Now());
      std::vector<ChunkOutcome> outcomes = runner_->Run(step);
      for (ChunkOutcome& outcome : outcomes) outcome.finish = FinishReason::kMaxTokens;
      scheduler_->Commit(step, outcomes, absl::Now() + absl::Seconds(100));
      if (step.chunks.empty()) std::this_thread::yield();
    }
  }
  // The first step of prompt 1, whose loads end once the second layer is awaited.
  ChunkOutcome RunArrival() {
    model_.OnAwait([this](int32_t layer) {
      if (layer == 1) plan().LetLoadsEnd();
    });
    Submit(PromptOf(kPromptTokens, 1));
    const StepPlan step = scheduler_->Plan(absl::Now());
    EXPECT_EQ(step.chunks.size(), 1u);
    EXPECT_EQ(step.chunks[0].sequence->state(), SequenceState::kArriving);
    const std::vector<ChunkOutcome> outcomes = runner_->Run(step);
    scheduler_->Commit(step, outcomes, absl::Now());
    return outcomes[0];
  }

  GatedStore store_{kBlockTokens};
  std::optional<cachestore::NamespaceHandle> ns_;
  CheckingModel model_{kMaxPositions};
  std::optional<Scheduler> scheduler_;
  const std::unique_ptr<Backend> backend_ = NewCpuBackend(1);
  std::optional<ModelRunner> runner_;
  SequenceId next_id_ = 1;
};

TEST_F(PrefixArrivalTest, AStepWhosePrefixArrivesGivesItsToken) {
  const ChunkOutcome outcome = RunArrival();
  EXPECT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_FALSE(outcome.is_void);
  EXPECT_EQ(outcome.token, ReferenceAnswer(PromptOf(kPromptTokens, 1), 1, kBlockTokens)[0]);
  EXPECT_EQ(model_.wrong_positions(), 0);
}

TEST_F(PrefixArrivalTest, AStepWhosePrefixDoesNotComeIsVoidAndNoError) {
  plan().FailLoadsOf(cachestore::ChainKeys(ns_->root, PromptOf(kPromptTokens, 1), kBlockTokens)[3],
                     absl::DataLossError("bad bytes"));
  const ChunkOutcome outcome = RunArrival();
  EXPECT_TRUE(outcome.is_void);
  EXPECT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_FALSE(outcome.token.has_value());
}

}  // namespace
}  // namespace reprise::engine
