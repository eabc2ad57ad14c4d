#include "engine/run/model_runner.h"

#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "tests/engine/sched/scheduler_driver.h"
#include "tests/fakes/checking_model.h"

namespace reprise::engine {
namespace {

constexpr int32_t kBlockTokens = 8;

class ModelRunnerTest : public testing::Test {
 protected:
  ModelRunnerTest()
      : store_(OpenStore(64, kBlockTokens)),
        ns_(OpenNamespace(store_.get(), kBlockTokens)),
        model_(kMaxPositions),
        scheduler_({.step_tokens = 32, .max_running = 8},
                   BlockBudget(64, kBlockTokens, kMaxPositions), store_.get(), [] {}),
        runner_(&model_, backend_.get(), ns_.layout) {}

  void Submit(std::vector<uint32_t> prompt) {
    GenerateRequest request;
    request.prompt = std::move(prompt);
    request.stop.max_new_tokens = 4;
    scheduler_.Submit(std::make_unique<Sequence>(next_id_++, ns_, std::move(request), absl::Now()));
  }

  std::unique_ptr<cachestore::TieredStore> store_;
  const cachestore::NamespaceHandle ns_;
  CheckingModel model_;
  const std::unique_ptr<Backend> backend_ = NewCpuBackend(1);
  Scheduler scheduler_;
  ModelRunner runner_;
  SequenceId next_id_ = 1;
};

TEST_F(ModelRunnerTest, OnlyChunksThatReachTheNewestTokenGiveOne) {
  Submit(PromptOf(10, 1));
  Submit(PromptOf(40, 2));
  const StepPlan plan = scheduler_.Plan(absl::Now());
  ASSERT_EQ(plan.chunks.size(), 2u);
  const std::vector<ChunkOutcome> outcomes = runner_.Run(plan);
  ASSERT_EQ(outcomes.size(), 2u);
  EXPECT_EQ(outcomes[0].token, ReferenceAnswer(PromptOf(10, 1), 1, kBlockTokens)[0]);
  EXPECT_FALSE(outcomes[1].token.has_value());
  EXPECT_TRUE(outcomes[1].status.ok());
}

TEST_F(ModelRunnerTest, EverySequenceGetsTheTokenOfItsOwnLogits) {
  for (uint32_t i = 0; i < 3; ++i) Submit(PromptOf(5 + i, i));
  const StepPlan plan = scheduler_.Plan(absl::Now());
  const std::vector<ChunkOutcome> outcomes = runner_.Run(plan);
  ASSERT_EQ(outcomes.size(), 3u);
  for (uint32_t i = 0; i < 3; ++i) {
    EXPECT_EQ(outcomes[i].token, ReferenceAnswer(PromptOf(5 + i, i), 1, kBlockTokens)[0]);
  }
}

TEST_F(ModelRunnerTest, AFailedPassIsTheOutcomeOfEveryChunk) {
  Submit({1, 2, 3});
  Submit({1, CheckingModel::kFailToken});
  const std::vector<ChunkOutcome> outcomes = runner_.Run(scheduler_.Plan(absl::Now()));
  ASSERT_EQ(outcomes.size(), 2u);
  for (const ChunkOutcome& outcome : outcomes) {
    EXPECT_EQ(outcome.status.code(), absl::StatusCode::kInternal);
    EXPECT_FALSE(outcome.token.has_value());
  }
}

TEST_F(ModelRunnerTest, UnusableLogitsAreTheOutcomeOfTheirChunkAlone) {
  Submit({1, CheckingModel::kNanToken});
  Submit({1, 2, 3});
  const std::vector<ChunkOutcome> outcomes = runner_.Run(scheduler_.Plan(absl::Now()));
  ASSERT_EQ(outcomes.size(), 2u);
  EXPECT_EQ(outcomes[0].status.code(), absl::StatusCode::kInternal);
  EXPECT_TRUE(outcomes[1].status.ok());
  EXPECT_TRUE(outcomes[1].token.has_value());
}

TEST_F(ModelRunnerTest, AnEmptyPlanComputesNothing) {
  EXPECT_TRUE(runner_.Run({}).empty());
  EXPECT_EQ(model_.passes(), 0);
}

}  // namespace
}  // namespace reprise::engine
