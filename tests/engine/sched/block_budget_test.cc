#include "engine/sched/block_budget.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace reprise::engine {
namespace {

using testing::AllOf;
using testing::HasSubstr;

GenerateRequest RequestOf(size_t prompt_tokens, int32_t max_new_tokens) {
  GenerateRequest request;
  request.prompt.assign(prompt_tokens, 1);
  request.stop.max_new_tokens = max_new_tokens;
  return request;
}

TEST(BlockBudgetTest, TheLastNewTokenNeedsNoRoom) {
  const BlockBudget budget(100, 16, 1000);
  EXPECT_EQ(budget.WorstCaseBlocks(RequestOf(16, 1)), 1);
  EXPECT_EQ(budget.WorstCaseBlocks(RequestOf(16, 2)), 2);
  EXPECT_EQ(budget.WorstCaseBlocks(RequestOf(1, 32)), 2);
  EXPECT_EQ(budget.WorstCaseBlocks(RequestOf(1, 33)), 3);
}

TEST(BlockBudgetTest, TheContextCapsTheWorstCase) {
  const BlockBudget budget(100, 16, 64);
  EXPECT_EQ(budget.WorstCaseBlocks(RequestOf(10, 1'000'000)), 4);
  EXPECT_EQ(budget.WorstCaseBlocks(RequestOf(64, 1)), 4);
}

TEST(BlockBudgetTest, ARequestThatCanNeverFitIsRefusedWithBothNumbers) {
  const BlockBudget budget(8, 16, 1 << 20);
  EXPECT_EQ(budget.usable_blocks(), 8);
  EXPECT_TRUE(budget.CheckFits(RequestOf(100, 29)).ok());
  const absl::Status status = budget.CheckFits(RequestOf(100, 30));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr("100 tokens"));
  EXPECT_THAT(status.message(), HasSubstr("needs 9 KV blocks"));
  EXPECT_THAT(status.message(), HasSubstr("has 8"));
  // What to change, and the change helps.
  EXPECT_THAT(status.message(), HasSubstr("at most 29 new tokens (max_new_tokens)"));
  EXPECT_THAT(status.message(), HasSubstr("--ram-bytes"));
  EXPECT_TRUE(budget.CheckFits(RequestOf(128, 1)).ok());
  EXPECT_THAT(budget.CheckFits(RequestOf(128, 2)).message(), HasSubstr("at most 1 new tokens"));
  EXPECT_THAT(budget.CheckFits(RequestOf(129, 1)).message(), HasSubstr("shorten the prompt"));
}

TEST(BlockBudgetTest, TheTierThatIsComputedOnIsNamed) {
  const BlockBudget budget(8, 16, 1 << 20, cachestore::Tier::kGpu);
  EXPECT_THAT(budget.CheckFits(RequestOf(100, 30)).message(),
              AllOf(HasSubstr("GPU tier has 8"), HasSubstr("--gpu-bytes")));
}

TEST(BlockBudgetTest, ASmallShareOfALargeTierIsLeftToOthers) {
  EXPECT_EQ(BlockBudget(64, 16, 1000).usable_blocks(), 60);
  EXPECT_EQ(BlockBudget(100'000, 16, 1000).usable_blocks(), 99'984);
}

}  // namespace
}  // namespace reprise::engine
