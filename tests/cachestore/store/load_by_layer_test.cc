// Pin with LoadOrder::kByLayer: what is told before all is there, and that it is true.
#include <gtest/gtest.h>

#include <cstring>
#include <thread>
#include <vector>

#include "tests/fakes/store_fixture.h"

namespace reprise::cachestore {
namespace {

constexpr int64_t kChain = 6;
constexpr uint64_t kBlockBytes = 2048;
constexpr uint64_t kHalf = kBlockBytes / 2;  // one of two layers

class LoadByLayerTest : public StoreFixture {
 protected:
  // Opens a store in which the chains of prompts 1 and 2 are on disk only, and whose loads by layer
  // stop in the middle.
  void PutOnDisk(int64_t ram_slots = 2 * kChain) {
    OpenWithDisk(2 * kChain, 64);
    for (uint32_t prompt : {1, 2}) SealChain(ns_, PromptTokens(prompt, kChain));
    ASSERT_TRUE(store_->Demote().ok());
    OpenWithDisk(ram_slots, 64);
    keys_ = ChainKeys(ns_.root, PromptTokens(1, kChain), kBlockTokens);
    faults_->HoldLoadsBehind(kHalf);
  }
  void TearDown() override {
    faults_->LetLoadsEnd();
    StoreFixture::TearDown();
  }
  PinTicket PinByLayer(uint32_t prompt, absl::Time deadline = absl::InfiniteFuture()) {
    return store_->Pin(ns_, PromptTokens(prompt, kChain), BlockRange{.first = 0, .count = kChain},
                       nullptr, deadline, LoadOrder::kByLayer);
  }
  static absl::Time Soon() { return absl::Now() + absl::Seconds(60); }
  static absl::Time AtOnce() { return absl::InfinitePast(); }
  // Whether the first `size` bytes of every block are right.
  bool AreRight(const std::vector<const std::byte*>& addresses, uint64_t size) {
    for (size_t i = 0; i < addresses.size(); ++i) {
      std::vector<std::byte> right(kBlockBytes);
      FillPayload(keys_[i], absl::MakeSpan(right));
      if (std::memcmp(addresses[i], right.data(), size) != 0) return false;
    }
    return addresses.size() == keys_.size();
  }
  // The ticket ends with its first `blocks` blocks.
  void ExpectEndsWith(PinTicket ticket, int64_t blocks) {
    ASSERT_TRUE(ticket.Wait(Soon()));
    EXPECT_EQ(static_cast<int64_t>(ticket.Take().blocks.size()), blocks);
  }

  std::vector<BlockKey> keys_;
};

TEST_F(LoadByLayerTest, TheFirstLayersAreThereBeforeTheLastOnes) {
  PutOnDisk();
  PinTicket ticket = PinByLayer(1);
  const std::vector<const std::byte*> addresses = ticket.addresses();
  ASSERT_EQ(addresses.size(), static_cast<size_t>(kChain));
  EXPECT_TRUE(ticket.AwaitBytes(kHalf, Soon()));
  EXPECT_TRUE(AreRight(addresses, kHalf));
  EXPECT_FALSE(AreRight(addresses, kBlockBytes));
  EXPECT_FALSE(ticket.done());
  EXPECT_FALSE(ticket.AwaitBytes(kHalf + 1, AtOnce()));
  EXPECT_FALSE(ticket.AwaitBytes(kBlockBytes, AtOnce()));
  faults_->LetLoadsEnd();
  EXPECT_TRUE(ticket.AwaitBytes(kBlockBytes, Soon()));
  EXPECT_TRUE(ticket.done());
  const PinnedPrefix prefix = ticket.Take();
  EXPECT_EQ(prefix.disk_blocks, kChain);
  EXPECT_TRUE(AreRight(addresses, kBlockBytes));
  for (int64_t i = 0; i < kChain; ++i) EXPECT_EQ(prefix.blocks[i].bytes().data(), addresses[i]);
}

TEST_F(LoadByLayerTest, BlocksInRamCountWhole) {
  PutOnDisk();
  PinTicket first = store_->Pin(ns_, PromptTokens(1, 2), 2, nullptr);
  ASSERT_TRUE(first.Wait(Soon()));
  PinTicket ticket = PinByLayer(1);
  EXPECT_TRUE(ticket.AwaitBytes(kHalf, Soon()));
  EXPECT_TRUE(AreRight(ticket.addresses(), kHalf));
  faults_->LetLoadsEnd();
  EXPECT_TRUE(ticket.AwaitBytes(kBlockBytes, Soon()));
  const PinnedPrefix prefix = ticket.Take();
  EXPECT_EQ(prefix.ram_blocks, 2);
  EXPECT_EQ(prefix.disk_blocks, kChain - 2);
}

TEST_F(LoadByLayerTest, ABlockThatIsLostLateEndsTheWait) {
  for (int64_t bad = 0; bad < kChain; ++bad) {
    contents_ = std::make_shared<MemoryTierContents>();
    faults_ = std::make_shared<FaultPlan>();
    PutOnDisk();
    faults_->FailLoadsOf(keys_[bad], absl::DataLossError("bad bytes"));
    PinTicket ticket = PinByLayer(1);
    EXPECT_TRUE(ticket.AwaitBytes(kHalf, Soon()));
    faults_->LetLoadsEnd();
    EXPECT_FALSE(ticket.AwaitBytes(kBlockBytes, Soon()));
    ExpectEndsWith(std::move(ticket), bad);
    EXPECT_EQ(store_->stats().missed_corrupt_tokens, kBlockTokens);
  }
}

TEST_F(LoadByLayerTest, OthersAreNotStuckBehindIt) {
  PutOnDisk();
  PinTicket held = PinByLayer(1);
  EXPECT_TRUE(held.AwaitBytes(kHalf, Soon()));
  // By block, because something else is being loaded.
  PinTicket other = PinByLayer(2);
  EXPECT_TRUE(other.addresses().empty());
  ExpectEndsWith(std::move(other), kChain);
  EXPECT_FALSE(held.done());
  // Who wants the same blocks waits for the same loads.
  PinTicket same = store_->Pin(ns_, PromptTokens(1, kChain), kChain, nullptr);
  EXPECT_FALSE(same.done());
  faults_->LetLoadsEnd();
  ExpectEndsWith(std::move(held), kChain);
  ExpectEndsWith(std::move(same), kChain);
  EXPECT_EQ(store_->stats().promoted_blocks, 2 * kChain);
}

TEST_F(LoadByLayerTest, ATicketThatIsOverOrGivenUpLeavesNothingPinned) {
  PutOnDisk();
  PinTicket late = PinByLayer(1, absl::Now() + absl::Milliseconds(20));
  EXPECT_FALSE(late.AwaitBytes(kBlockBytes, absl::InfiniteFuture()));
  ExpectEndsWith(std::move(late), 0);
  EXPECT_EQ(store_->stats().missed_deadline_tokens, kBlockTokens);
  EXPECT_EQ(store_->stats().pinned_blocks, 0);
  faults_->LetLoadsEnd();
  while (store_->stats().queued_transfers > 0) std::this_thread::yield();
  faults_->HoldLoadsBehind(kHalf);
  ASSERT_TRUE(store_->Demote().ok());
  {
    PinTicket given_up = PinByLayer(2);
    EXPECT_TRUE(given_up.AwaitBytes(kHalf, Soon()));
  }
  EXPECT_EQ(store_->stats().pinned_blocks, 0);
}

TEST_F(LoadByLayerTest, WhatIsInvalidatedMeanwhileIsMissing) {
  PutOnDisk();
  PinTicket ticket = PinByLayer(1);
  EXPECT_TRUE(ticket.AwaitBytes(kHalf, Soon()));
  std::thread invalidator([&] { EXPECT_TRUE(store_->Invalidate(AllBlocks{}, Soon()).ok()); });
  while (store_->Match(ns_, PromptTokens(1, kChain), kChain).total_blocks() > 0) {
    std::this_thread::yield();
  }
  faults_->LetLoadsEnd();
  EXPECT_FALSE(ticket.AwaitBytes(kBlockBytes, Soon()));
  ExpectEndsWith(std::move(ticket), 0);
  invalidator.join();
}

TEST_F(LoadByLayerTest, WithoutRoomForAllItIsLoadedByBlockAsFarAsThereIsRoom) {
  PutOnDisk(/*ram_slots=*/4);
  PinTicket ticket = PinByLayer(1);
  EXPECT_TRUE(ticket.addresses().empty());
  faults_->LetLoadsEnd();
  ExpectEndsWith(std::move(ticket), 4);
}

TEST_F(LoadByLayerTest, ABlockSealedMeanwhileHasAnotherAddress) {
  PutOnDisk();
  PinTicket ticket = PinByLayer(1);
  const std::vector<const std::byte*> addresses = ticket.addresses();
  const BlockRef sealed = SealOne(ns_, ns_.root, PromptTokens(1, 1));
  faults_->LetLoadsEnd();
  EXPECT_FALSE(ticket.AwaitBytes(kBlockBytes, Soon()));
  ASSERT_TRUE(ticket.Wait(Soon()));
  const PinnedPrefix prefix = ticket.Take();
  ASSERT_EQ(prefix.blocks.size(), addresses.size());
  EXPECT_EQ(prefix.blocks[0].bytes().data(), sealed.bytes().data());
  EXPECT_NE(prefix.blocks[0].bytes().data(), addresses[0]);
  EXPECT_EQ(prefix.blocks[1].bytes().data(), addresses[1]);
}

}  // namespace
}  // namespace reprise::cachestore
