// What the order of eviction has learned, over the end of a store.
#include "cachestore/store/model_keeper.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "cachestore/policy/reuse_policy.h"
#include "tests/fakes/store_fixture.h"

namespace reprise::cachestore {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int64_t kRamSlots = 80;
constexpr int64_t kDiskSlots = 4096;
constexpr int64_t kLong = 32;  // blocks of a long prompt

// Whether an order that goes on from `model` gives up a long prompt before an older short one. No
// time passes, so that the answer is the model's alone.
bool ShortOnesGoLast(const std::string& model) {
  ReusePolicy order;
  EXPECT_EQ(order.RestoreModel(model), absl::OkStatus());
  BlockId next = 0;
  const auto request = [&](int64_t num_blocks) {
    const BlockId first = next;
    std::vector<BlockKey> keys;
    for (int64_t i = 0; i < num_blocks; ++i) keys.push_back({1, first + static_cast<uint64_t>(i)});
    order.OnRequest({.block_tokens = kBlockTokens,
                     .prompt_tokens = kBlockTokens * num_blocks,
                     .keys = keys,
                     .matched = {},
                     .hints = {.use = RequestHints::Use::kRequest}});
    for (const BlockKey& key : keys) {
      order.OnInsert(next, next == first ? kNoBlock : next - 1, key);
      ++next;
    }
    order.Place(next - 1, Membership::kRam, /*set=*/0);
    return next - 1;
  };
  request(1);
  const BlockId end_of_long = request(kLong);
  return order.Best(/*set=*/0) == end_of_long;
}

class ModelKeeperTest : public StoreFixture {
 protected:
  ModelKeeperTest() { eviction_ = EvictionOrder::kReuse; }

  void Open() { OpenWithDisk(kRamSlots, kDiskSlots); }

  // A user's request for a prompt, whose blocks it brings.
  void Request(uint32_t prompt, int64_t num_blocks) {
    const std::vector<TokenId> tokens = PromptTokens(prompt, num_blocks);
    store_->Touch(ns_, tokens, num_blocks, {.use = RequestHints::Use::kRequest});
    SealChain(ns_, tokens);
  }

  // Short prompts come again at once, long ones do not.
  void Teach() {
    for (int i = 0; i < 20; ++i, ++last_prompt_) {
      for (int turn = 0; turn < 2; ++turn) Request(last_prompt_, 1);
    }
    Request(++last_prompt_, kLong);
  }
  // The opposite, once: what is learned since the last save is written.
  void TeachOtherwise() {
    ++last_prompt_;
    for (int turn = 0; turn < 2; ++turn) Request(last_prompt_, kLong);
  }

  const std::string& Saved() const { return contents_->states.at("eviction_model"); }

  uint32_t last_prompt_ = 0;
};

TEST_F(ModelKeeperTest, AStoreThatIsOpenedAgainKnowsWhatItHasLearned) {
  Open();
  Teach();
  store_.reset();
  ASSERT_EQ(contents_->states.size(), 1u);
  const std::string taught = Saved();
  EXPECT_TRUE(ShortOnesGoLast(taught));
  Open();
  TeachOtherwise();
  store_.reset();
  EXPECT_NE(Saved(), taught);
  EXPECT_TRUE(ShortOnesGoLast(Saved()));
  contents_->states.clear();
  Open();
  TeachOtherwise();
  EXPECT_THAT(store_->losses(), IsEmpty());
  store_.reset();
  EXPECT_FALSE(ShortOnesGoLast(Saved())) << "it is the saved state that makes the difference";
}

// As kill -9 leaves it: nothing is written any more.
TEST_F(ModelKeeperTest, WhatWasSavedLastSurvivesAProcessThatDoesNotEnd) {
  save_model_every_ = absl::Milliseconds(1);
  Open();
  Teach();
  // The second save from here on began after that.
  for (const int64_t saves = faults_->saves(); faults_->saves() < saves + 2;) {
    Request(++last_prompt_, 1);
    Request(last_prompt_, 1);
  }
  faults_->FailWrites(absl::UnavailableError("gone"));
  store_.reset();
  EXPECT_TRUE(ShortOnesGoLast(Saved()));
}

TEST_F(ModelKeeperTest, AModelThatCannotBeUsedIsSaidAndNoMore) {
  Open();
  Teach();
  ASSERT_TRUE(store_->Demote().ok());
  store_.reset();
  std::string& model = contents_->states.begin()->second;
  model.resize(model.size() / 2);
  Open();
  EXPECT_THAT(store_->losses(), ElementsAre(HasSubstr("had learned is not used")));
  EXPECT_GT(store_->stats().recovered_blocks, 0) << "the blocks are there all the same";
  TeachOtherwise();
  store_.reset();
  EXPECT_FALSE(ShortOnesGoLast(Saved()));
}

TEST_F(ModelKeeperTest, AnOrderThatDoesNotLearnSavesNothingAndLeavesWhatIsThere) {
  Open();
  Teach();
  store_.reset();
  const auto states = contents_->states;
  eviction_ = EvictionOrder::kLru;
  save_model_every_ = absl::Nanoseconds(1);
  const int64_t saves = faults_->saves();
  Open();
  Teach();
  store_.reset();
  EXPECT_EQ(faults_->saves(), saves);
  EXPECT_EQ(contents_->states, states);
}

TEST_F(ModelKeeperTest, ASaveThatFailsCountsAndTheNextOneIsDue) {
  save_model_every_ = absl::Milliseconds(1);
  Open();
  faults_->FailWrites(absl::UnavailableError("full"));
  while (store_->stats().failed_disk_writes < 2) Request(1, 1);
  faults_->FailWrites(absl::OkStatus());
  store_.reset();
  EXPECT_EQ(contents_->states.size(), 1u);
}

TEST_F(ModelKeeperTest, ASaveThatIsDueBringsNoRefusedWriteForward) {
  save_model_every_ = absl::Milliseconds(1);
  Open();
  Teach();
  ASSERT_TRUE(store_->Demote().ok());
  faults_->FailWrites(absl::UnavailableError("gone"));
  EXPECT_FALSE(store_->Invalidate(AllBlocks{}, absl::Now()).ok());
  const int64_t saves = faults_->saves();
  while (faults_->saves() < saves + 100) Request(++last_prompt_, 1);
  // They come at 50 ms, 150, 350: twenty would be a minute.
  EXPECT_LT(faults_->failed_writes(), 20);
  faults_->FailWrites(absl::OkStatus());
}

}  // namespace
}  // namespace reprise::cachestore
