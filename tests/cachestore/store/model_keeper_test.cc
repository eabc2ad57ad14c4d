// What the order of eviction has learned, over the end of a store.
#include "cachestore/store/model_keeper.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/fakes/store_fixture.h"

namespace reprise::cachestore {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int64_t kRamSlots = 80;
constexpr int64_t kDiskSlots = 4096;
constexpr int64_t kLong = 32;  // blocks of a long prompt

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

  // Whether a short prompt outlives a younger long one when RAM is short.
  bool ShortOnesGoLast() {
    const uint32_t prompt = ++last_prompt_;
    Request(prompt, 1);
    for (int64_t blocks = 0; blocks < kRamSlots; blocks += kLong) Request(++last_prompt_, kLong);
    return store_->Match(ns_, PromptTokens(prompt, 1), 1).ram_blocks == 1;
  }

  uint32_t last_prompt_ = 0;
};

TEST_F(ModelKeeperTest, AStoreThatIsOpenedAgainKnowsWhatItHasLearned) {
  Open();
  EXPECT_FALSE(ShortOnesGoLast()) << "nothing is learned yet";
  Teach();
  Open();
  EXPECT_TRUE(ShortOnesGoLast());
  store_.reset();
  ASSERT_EQ(contents_->states.size(), 1u);
  contents_->states.clear();
  Open();
  EXPECT_FALSE(ShortOnesGoLast()) << "it is the saved state that makes the difference";
  EXPECT_THAT(store_->losses(), IsEmpty());
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
  faults_->FailWrites(absl::OkStatus());
  Open();
  EXPECT_TRUE(ShortOnesGoLast());
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
  EXPECT_FALSE(ShortOnesGoLast());
  EXPECT_GT(store_->stats().recovered_blocks, 0) << "the blocks are there all the same";
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
