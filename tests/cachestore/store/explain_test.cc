// Explain and Touch: why a prompt hits or misses, and that it is wanted.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "tests/fakes/gpu_store_fixture.h"

namespace reprise::cachestore {
namespace {

using ::testing::ElementsAre;
using Verdict = BlockVerdict;

class ExplainTest : public GpuStoreFixture {
 protected:
  std::vector<Verdict> Verdicts(const std::vector<TokenId>& prompt) {
    std::vector<Verdict> verdicts;
    for (const ExplainedBlock& block : store_->Explain(ns_, prompt)) {
      verdicts.push_back(block.verdict);
      const bool has_left = block.verdict >= Verdict::kEvicted && block.verdict <= Verdict::kLost;
      EXPECT_EQ(block.left_at.has_value(), has_left);
      EXPECT_EQ(block.key.has_value(), block.verdict != Verdict::kPartial);
    }
    return verdicts;
  }
};

TEST_F(ExplainTest, WhatIsCachedIsInItsFastestTier) {
  OpenWithGpu(8, 8, 16);
  std::vector<TokenId> tokens = PromptTokens(1, 3);
  SealChain(ns_, absl::MakeSpan(tokens).first(2 * kBlockTokens));
  ASSERT_TRUE(store_->Demote().ok());
  PinNow(ns_, absl::MakeSpan(tokens).first(kBlockTokens));
  tokens.resize(2 * kBlockTokens + 1);
  EXPECT_THAT(Verdicts(tokens), ElementsAre(Verdict::kRam, Verdict::kDisk, Verdict::kPartial));
  PinIn(Tier::kGpu, ns_, tokens);
  EXPECT_THAT(Verdicts(tokens), ElementsAre(Verdict::kGpu, Verdict::kGpu, Verdict::kPartial));
}

TEST_F(ExplainTest, WhatIsMissingSaysWhyAndWhen) {
  OpenWithDisk(8, 8);
  const std::vector<TokenId> never = PromptTokens(1, 2);
  EXPECT_THAT(Verdicts(never), ElementsAre(Verdict::kNeverStored, Verdict::kBehindAMiss));
  const std::vector<TokenId> taken = PromptTokens(2, 2);
  SealChain(ns_, taken);
  const absl::Time before = absl::Now();
  ASSERT_TRUE(
      store_->Invalidate(BlocksBelow{ns_, PromptTokens(2, 1)}, absl::InfiniteFuture()).ok());
  EXPECT_THAT(Verdicts(taken), ElementsAre(Verdict::kInvalidated, Verdict::kInvalidated));
  EXPECT_GE(*store_->Explain(ns_, taken)[0].left_at, before);
  EXPECT_LE(*store_->Explain(ns_, taken)[0].left_at, absl::Now());

  const std::vector<TokenId> bad = PromptTokens(3, 2);
  SealChain(ns_, bad);
  ASSERT_TRUE(store_->Demote().ok());
  faults_->FailLoadsOf(ChainKeys(ns_.root, bad, kBlockTokens)[0], absl::DataLossError("bad"));
  PinNow(ns_, bad);
  EXPECT_THAT(Verdicts(bad), ElementsAre(Verdict::kFailedVerification, Verdict::kLost));
}

TEST_F(ExplainTest, AnEvictedBlockSaysSoUntilItIsStoredAgain) {
  OpenRamOnly(2);
  SealChain(ns_, PromptTokens(1, 2));
  SealChain(ns_, PromptTokens(2, 1));
  EXPECT_THAT(Verdicts(PromptTokens(1, 2)), ElementsAre(Verdict::kRam, Verdict::kEvicted));
  SealChain(ns_, PromptTokens(1, 2));
  EXPECT_THAT(Verdicts(PromptTokens(1, 2)), ElementsAre(Verdict::kRam, Verdict::kRam));
}

TEST_F(ExplainTest, ACollisionIsToldAsSuch) {
  derive_ = [](const BlockKey&, absl::Span<const uint32_t>) { return BlockKey{5, 5}; };
  OpenRamOnly(4);
  SealOne(ns_, ns_.root, PromptTokens(1, 1));
  EXPECT_THAT(Verdicts(PromptTokens(2, 2)),
              ElementsAre(Verdict::kCollision, Verdict::kBehindAMiss));
}

TEST_F(ExplainTest, WhatIsTouchedGoesLast) {
  OpenRamOnly(4);
  SealChain(ns_, PromptTokens(1, 2));
  SealChain(ns_, PromptTokens(2, 2));
  EXPECT_EQ(store_->Touch(ns_, PromptTokens(1, 3), 100), 2);
  EXPECT_EQ(store_->Touch(ns_, PromptTokens(3, 1), 100), 0);
  EXPECT_EQ(store_->stats().touched_blocks, 2);
  EXPECT_EQ(store_->stats().looked_up_tokens, 0);
  SealChain(ns_, PromptTokens(4, 2));
  EXPECT_EQ(store_->Match(ns_, PromptTokens(1, 2), 10).ram_blocks, 2);
  EXPECT_EQ(store_->Match(ns_, PromptTokens(2, 2), 10).ram_blocks, 0);
}

}  // namespace
}  // namespace reprise::cachestore
