// Blocks that are not worth a write to disk, in the store.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "cachestore/policy/reuse_policy.h"
#include "tests/fakes/store_fixture.h"

namespace reprise::cachestore {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using Verdict = BlockVerdict;

constexpr int64_t kShared = 6;  // blocks from which a conversation goes on

// What an order has learned in ten minutes in which each conversation left a block behind in its
// second turn, and came back for the others after a minute.
std::string LearnedModel() {
  int64_t now_ms = 0;
  ReusePolicy policy;
  const auto ask = [&](const std::vector<BlockId>& ids, size_t num_known) {
    std::vector<BlockKey> keys;
    for (const BlockId id : ids) keys.push_back({1, id});
    policy.OnRequest({.time_ms = now_ms,
                      .block_tokens = kBlockTokens,
                      .prompt_tokens = kBlockTokens * static_cast<int64_t>(ids.size()),
                      .keys = keys,
                      .matched = absl::MakeConstSpan(ids).first(num_known),
                      .hints = {.use = RequestHints::Use::kRequest}});
    for (size_t i = num_known; i < ids.size(); ++i) {
      policy.OnInsert(ids[i], i == 0 ? kNoBlock : ids[i - 1], keys[i]);
    }
  };
  for (BlockId first = 0; first < 4 * 600; first += 4, now_ms += 1000) {
    ask({first, first + 1}, 0);
    ask({first, first + 2}, 1);
    if (first < 4 * 60) continue;
    const BlockId before = first - 4 * 60;
    ask({before, before + 2, before + 3}, 2);
  }
  return policy.SerializeModel();
}

class LikelyAdmissionTest : public StoreFixture {
 protected:
  LikelyAdmissionTest() {
    eviction_ = EvictionOrder::kReuse;
    admission_ = DiskAdmission::kLikely;
    second_turn_.resize(kShared * kBlockTokens);
    for (const TokenId token : PromptTokens(2, 4)) second_turn_.push_back(token);
    contents_->states["eviction_model"] = LearnedModel();
  }

  void Request(const std::vector<TokenId>& prompt) {
    const auto num_blocks = static_cast<int64_t>(prompt.size()) / kBlockTokens;
    store_->Touch(ns_, prompt, num_blocks, {.use = RequestHints::Use::kRequest});
    SealChain(ns_, prompt);
  }
  // A conversation that does not go on from the end of its first turn.
  void Converse() {
    Request(first_turn_);
    Request(second_turn_);
    ASSERT_TRUE(store_->Demote().ok());
  }
  int64_t OnDisk(const std::vector<TokenId>& prompt) const {
    return store_->Match(ns_, prompt, 100).disk_blocks;
  }
  std::vector<Verdict> Verdicts(const std::vector<TokenId>& prompt) const {
    std::vector<Verdict> verdicts;
    for (const ExplainedBlock& block : store_->Explain(ns_, prompt)) {
      verdicts.push_back(block.verdict);
    }
    return verdicts;
  }

  const std::vector<TokenId> first_turn_ = PromptTokens(1, kShared + 2);
  std::vector<TokenId> second_turn_ = PromptTokens(1, kShared);
};

TEST_F(LikelyAdmissionTest, WhatAConversationHasLeftBehindIsNotWritten) {
  OpenWithDisk(32, 32);
  Converse();
  EXPECT_EQ(OnDisk(second_turn_), kShared + 4);
  EXPECT_EQ(OnDisk(first_turn_), kShared);
  EXPECT_EQ(contents_->items.size(), kShared + 4u);
  EXPECT_EQ(store_->stats().rejected_blocks, 2);
  EXPECT_THAT(PinNow(ns_, second_turn_).blocks.size(), kShared + 4u) << "its ancestors are there";
}

TEST_F(LikelyAdmissionTest, WithoutTheModelItIs) {
  admission_ = DiskAdmission::kAll;
  OpenWithDisk(32, 32);
  Converse();
  EXPECT_EQ(OnDisk(first_turn_), kShared + 2);
  EXPECT_EQ(store_->stats().rejected_blocks, 0);
}

TEST_F(LikelyAdmissionTest, ItCanBeSetWhileTheStoreIsOpen) {
  admission_ = DiskAdmission::kAll;
  OpenWithDisk(32, 32);
  store_->SetDiskAdmission(DiskAdmission::kLikely);
  Converse();
  EXPECT_EQ(OnDisk(first_turn_), kShared);
  EXPECT_EQ(store_->stats().rejected_blocks, 2);
}

TEST_F(LikelyAdmissionTest, UnderAnOrderThatLearnsNothingAllIsWritten) {
  eviction_ = EvictionOrder::kLru;
  OpenWithDisk(32, 32);
  Converse();
  EXPECT_EQ(OnDisk(first_turn_), kShared + 2);
  EXPECT_EQ(OnDisk(second_turn_), kShared + 4);
  EXPECT_EQ(store_->stats().rejected_blocks, 0);
}

TEST_F(LikelyAdmissionTest, WhatWasNotAdmittedSaysSo) {
  OpenWithDisk(32, 32);
  Converse();
  EXPECT_THAT(Verdicts(second_turn_), Each(Verdict::kDisk));
  using enum BlockVerdict;
  EXPECT_THAT(Verdicts(first_turn_),
              ElementsAre(kDisk, kDisk, kDisk, kDisk, kDisk, kDisk, kNotAdmitted, kNotAdmitted));
  const auto why = static_cast<size_t>(Removal::kNotAdmitted);
  EXPECT_EQ(store_->stats().removed_blocks[why][static_cast<size_t>(CacheTier::kRam)], 2);
}

// A block that is not worth a write by itself is written for what is below it.
TEST_F(LikelyAdmissionTest, WhatIsAdmittedComesWithItsAncestors) {
  OpenWithDisk(32, 32);
  Request(first_turn_);
  Request(second_turn_);
  // Another conversation goes on from what the first one has left behind.
  std::vector<TokenId> below = first_turn_;
  for (const TokenId token : PromptTokens(3, 6)) below.push_back(token);
  Request(below);
  ASSERT_TRUE(store_->Demote().ok());
  EXPECT_EQ(OnDisk(below), kShared + 2 + 6);
}

}  // namespace
}  // namespace reprise::cachestore
