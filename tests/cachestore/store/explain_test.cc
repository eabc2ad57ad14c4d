// Explain, Touch and the watcher of requests: why a prompt hits or misses, and that it is wanted.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "tests/fakes/gpu_store_fixture.h"
#include "tests/fakes/seen_requests.h"

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

TEST_F(ExplainTest, AWatcherSeesEachLookupThatIsToBeUsedAndItsHints) {
  OpenRamOnly(4);
  SealChain(ns_, PromptTokens(1, 2));
  const auto seen = std::make_shared<SeenRequests>();
  ASSERT_EQ(store_->Watch(seen), nullptr);
  std::vector<TokenId> prompt = PromptTokens(1, 3);
  prompt.push_back(1);
  const RequestHints hints = {.use = RequestHints::Use::kRequest, .session = 7, .turn = 2};
  {
    PinTicket ticket = store_->Pin(ns_, prompt, BlockRange{.first = 1, .count = 2}, nullptr,
                                   absl::InfiniteFuture(), LoadOrder::kByBlock, Tier::kRam, hints);
    ASSERT_TRUE(ticket.done());
  }
  PinNow(ns_, prompt);
  store_->Match(ns_, prompt, 10);
  store_->Touch(ns_, prompt, 10, hints);
  const std::vector<SeenRequests::Request> requests = seen->TakeRequests();
  ASSERT_EQ(requests.size(), 2u);
  for (const SeenRequests::Request& request : requests) {
    EXPECT_EQ(request.hints.session, 7u);
    EXPECT_EQ(request.hints.turn, 2);
    EXPECT_EQ(request.asked_blocks, 3u);
    EXPECT_EQ(request.matched_blocks, 2u);
    EXPECT_EQ(request.prompt_tokens, 3 * kBlockTokens + 1);
  }
  EXPECT_EQ(store_->stats().requests, 2);

  const std::vector<BlockKey> keys = ChainKeys(ns_.root, PromptTokens(1, 3), kBlockTokens);
  store_->EndRequest(ns_, absl::MakeConstSpan(keys).first(2), {.hints = hints, .output_tokens = 9});
  store_->EndRequest(ns_, keys, {});
  const std::vector<SeenRequests::End> ends = seen->TakeEnds();
  ASSERT_EQ(ends.size(), 2u);
  EXPECT_EQ(ends[0].end.output_tokens, 9);
  EXPECT_EQ(ends[0].keys.size(), 2u);
  EXPECT_TRUE(ends[0].is_stored);
  EXPECT_FALSE(ends[1].is_stored);
  EXPECT_EQ(store_->stats().ended_requests, 2);

  EXPECT_EQ(store_->Watch(nullptr), seen);
  store_->Touch(ns_, prompt, 10, hints);
  EXPECT_TRUE(seen->TakeRequests().empty());
}

// A curve takes a lookup's blocks for stored afterwards, so that none has to be.
TEST_F(ExplainTest, WhatIfTellsTenantsWithAQuotaWhatTheirsWouldHave) {
  constexpr int64_t kBlocks = 4000;
  constexpr int64_t kQuotaSlots = 2400;
  // Not from the root: it is random, and 240 samples that are others each time are off by more than
  // a tenth in one run of fifty.
  derive_ = [](const BlockKey&, absl::Span<const uint32_t> block) {
    return ChildKey(BlockKey{1, 1}, block);
  };
  OpenRamOnly(4 * kBlocks);
  const NamespaceHandle quota_ns = OpenNamespace(TestIdentity("with quota"));
  store_->SetQuotas({{"with quota", {.ram_bytes = kQuotaSlots * kSlotBytes, .disk_bytes = 0}}});
  EXPECT_TRUE(store_->WhatIf().tenants.empty());
  const RequestHints hints = {.use = RequestHints::Use::kRequest};
  for (int i = 0; i < 2; ++i) {
    store_->Touch(ns_, PromptTokens(1, kBlocks), kBlocks, hints);
    store_->Touch(quota_ns, PromptTokens(1, kBlocks), kBlocks, hints);
    store_->Touch(ns_, PromptTokens(2, kBlocks), kBlocks);  // no request: not in it
  }
  const WhatIfReport report = store_->WhatIf();
  ASSERT_EQ(report.tenants.size(), 2u);
  EXPECT_EQ(report.tenants[0].tenant, "default");
  EXPECT_EQ(report.tenants[1].tenant, "with quota");
  const double looked_up = 2 * kBlocks * kBlockTokens;
  EXPECT_EQ(report.all.looked_up_tokens, 2 * looked_up);
  // The first time all is missed. The second time all of it fits, or what the quota has room for.
  // No size is that of the prompt: there a sample too many is a miss and one too few is no hit.
  const double expected[2][4] = {{0.5, 0.5, 0.5, 0.5}, {0.15, 0.3, 0.5, 0.5}};
  for (size_t tenant = 0; tenant < 2; ++tenant) {
    EXPECT_EQ(report.tenants[tenant].looked_up_tokens, looked_up);
    EXPECT_TRUE(report.tenants[tenant].disk.empty());
    ASSERT_EQ(report.tenants[tenant].ram.size(), 4u);
    for (size_t i = 0; i < 4; ++i) {
      const WhatIfPoint& point = report.tenants[tenant].ram[i];
      const int64_t slots = tenant == 0 ? 4 * kBlocks : kQuotaSlots;
      EXPECT_EQ(point.bytes, static_cast<int64_t>(point.factor * slots * kSlotBytes));
      EXPECT_NEAR(point.hit_tokens / looked_up, expected[tenant][i], 0.05) << tenant << " " << i;
    }
  }
}

}  // namespace
}  // namespace reprise::cachestore
