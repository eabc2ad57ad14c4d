// The store with a GPU tier when a disk or the device fails, or room is short, while copies are
// under way.
#include <gtest/gtest.h>
#include <time.h>

#include <thread>
#include <vector>

#include "tests/fakes/gpu_store_fixture.h"

namespace reprise::cachestore {
namespace {

class GpuFaultsTest : public GpuStoreFixture {
 protected:
  void TearDown() override {
    for (const Lane lane : {Lane::kToDevice, Lane::kToHost}) held_->LetGo(lane);
    FinishSteps();
    EXPECT_EQ(wrong_reads_, 0);
    GpuStoreFixture::TearDown();
  }
  PinTicket StartPin(Tier tier, const std::vector<TokenId>& tokens, BlockRange range) {
    return store_->Pin(ns_, tokens, range, nullptr, absl::InfiniteFuture(), LoadOrder::kByBlock,
                       tier);
  }
  static bool EndsWithin(PinTicket& ticket, absl::Duration patience) {
    return ticket.Wait(absl::Now() + patience);
  }
  // RAM is full: of a block that is being loaded until the load gate opens, and of three that
  // cannot go to disk before their parent, which only the GPU has and RAM has no room for.
  PinTicket FillRamAboveTheGpu() {
    OpenWithGpu(8, 4, 64);
    SealChain(ns_, PromptTokens(2, 1));
    EXPECT_TRUE(store_->Demote().ok());
    faults_->CloseLoadGate();
    PinTicket ticket = StartPin(Tier::kRam, PromptTokens(2, 1), {.first = 0, .count = 1});
    const BlockRef parent = SealOnGpu(ns_, ns_.root, PromptTokens(1, 1));
    for (uint32_t child = 3; child <= 5; ++child) {
      SealOne(ns_, parent.key(), PromptTokens(child, 1));
    }
    EXPECT_EQ(store_->stats().ram_used_bytes, 4 * kSlotBytes);
    return ticket;
  }
  void AwaitTransfers(int64_t left) {
    const absl::Time deadline = absl::Now() + absl::Seconds(60);
    while (store_->stats().queued_transfers > left && absl::Now() < deadline) {
      std::this_thread::yield();
    }
    EXPECT_LE(store_->stats().queued_transfers, left);
  }
};

TEST_F(GpuFaultsTest, WhatIsLostFromRamWhileItsLoadEndsIsNotCopiedToTheGpu) {
  constexpr int64_t kLong = 258;  // so many that the last one is not condemned with the first
  OpenWithGpu(16, 512, 1024);
  const std::vector<TokenId> tokens = PromptTokens(1, kLong);
  SealChain(ns_, tokens);
  ASSERT_TRUE(store_->Demote().ok());
  const std::vector<BlockKey> keys = ChainKeys(ns_.root, tokens, kBlockTokens);
  faults_->FailLoadsOf(keys[0], absl::DataLossError("bad bytes"));
  faults_->FailLoadsOf(keys[kLong - 1], absl::InternalError("cannot be read"));
  // While the demoter writes, it does not condemn what is below a lost block.
  SealChain(ns_, PromptTokens(2, 1));
  faults_->CloseWriteGate();
  std::thread demotes([this] { EXPECT_TRUE(store_->Demote().ok()); });
  faults_->AwaitWrites(1);
  faults_->CloseLoadGate();
  PinTicket first = StartPin(Tier::kRam, tokens, {.first = 0, .count = 1});
  { PinTicket given_up = StartPin(Tier::kGpu, tokens, {.first = kLong - 1, .count = 1}); }
  // It is in RAM again, and nobody's, when its load fails.
  SealOne(ns_, keys[kLong - 2],
          absl::MakeSpan(tokens).subspan((kLong - 1) * kBlockTokens, kBlockTokens));
  EXPECT_EQ(store_->stats().ram_blocks, 2);
  EXPECT_EQ(faults_->loads(), 2);
  faults_->OpenLoadGate();
  EXPECT_TRUE(EndsWithin(first, absl::Seconds(60)));
  EXPECT_EQ(first.Take().blocks.size(), 0u);
  AwaitTransfers(1);  // the demoter's write
  EXPECT_EQ(store_->stats().promoted_to_gpu_blocks, 0);
  faults_->OpenWriteGate();
  demotes.join();
}

TEST_F(GpuFaultsTest, ABlockSealedOnTheGpuMakesUpForALoadThatFails) {
  OpenWithGpu(16, 16, 64);
  const std::vector<TokenId> tokens = PromptTokens(1, 1);
  SealChain(ns_, tokens);
  ASSERT_TRUE(store_->Demote().ok());
  const BlockKey key = ChainKeys(ns_.root, tokens, kBlockTokens)[0];
  faults_->FailLoadsOf(key, absl::InternalError("cannot be read"));
  faults_->CloseLoadGate();
  PinTicket ticket = StartPin(Tier::kGpu, tokens, {.first = 0, .count = 1});
  SealOnGpu(ns_, ns_.root, tokens);
  faults_->OpenLoadGate();
  ASSERT_TRUE(EndsWithin(ticket, absl::Seconds(60)));
  PinnedPrefix prefix = ticket.Take();
  EXPECT_EQ(prefix.blocks.size(), 1u);
  StepReads(prefix.blocks);
  prefix = {};
  // The copy that cannot be read is not what the good one is given up for.
  ASSERT_TRUE(store_->Demote().ok());
  EXPECT_EQ(contents_->items.at(key).block.sequence, 2u) << "it was erased and stored anew";
  faults_->FailLoadsOf(key, absl::OkStatus());
  EXPECT_EQ(PinAndRead(ns_, tokens).disk_blocks, 1);
}

TEST_F(GpuFaultsTest, ABlockIsNotTakenForOneThatWasLostWhileItWasCopied) {
  OpenWithGpu(16, 16, 64);
  SealChain(ns_, PromptTokens(2, 1));
  SealChainOnGpu(ns_, PromptTokens(1, 1));
  held_->Hold(Lane::kToHost);
  { PinTicket given_up = StartPin(Tier::kRam, PromptTokens(1, 1), {.first = 0, .count = 1}); }
  held_->FailLane(Lane::kToDevice, absl::InternalError("the device fell off the bus"));
  EXPECT_EQ(PinIn(Tier::kGpu, ns_, PromptTokens(2, 1)).blocks.size(), 0u);
  EXPECT_EQ(store_->stats().lost_gpu_blocks, 1);
  EXPECT_EQ(store_->Match(ns_, PromptTokens(1, 1), 1).total_blocks(), 0);
  // Its place in the index would be the next block's.
  SealChain(ns_, PromptTokens(3, 1));
  ASSERT_TRUE(store_->Demote().ok());
  PinTicket ticket = StartPin(Tier::kRam, PromptTokens(3, 1), {.first = 0, .count = 1});
  EXPECT_TRUE(EndsWithin(ticket, absl::Seconds(10))) << "waits for the copy of another block";
  held_->LetGo(Lane::kToHost);
  ASSERT_TRUE(EndsWithin(ticket, absl::Seconds(60)));
  EXPECT_EQ(ticket.Take().blocks.size(), 1u);
  AwaitTransfers(0);
}

TEST_F(GpuFaultsTest, DemoteDropsAndCountsWhatNeitherRamNorDiskTakes) {
  constexpr int64_t kLong = 24;
  OpenWithGpu(32, 4, 64);
  SealChainOnGpu(ns_, PromptTokens(1, kLong));
  faults_->FailWrites(absl::InternalError("write failed"));
  ASSERT_TRUE(store_->Demote().ok());
  EXPECT_GT(faults_->failed_writes(), 0);
  EXPECT_EQ(store_->stats().gpu_blocks, 0);
  EXPECT_EQ(store_->stats().ram_blocks, 0);
  EXPECT_EQ(store_->stats().dropped_blocks, kLong);
  EXPECT_EQ(store_->Match(ns_, PromptTokens(1, kLong), 100).total_blocks(), 0);
}

TEST_F(GpuFaultsTest, DemoteAwaitsADiskThatHangs) {
  constexpr int64_t kLong = 24;
  OpenWithGpu(32, 4, 64);
  SealChainOnGpu(ns_, PromptTokens(1, kLong));
  faults_->CloseWriteGate();
  std::thread demotes([this] { EXPECT_TRUE(store_->Demote().ok()); });
  faults_->AwaitWrites(1);
  EXPECT_EQ(store_->Demote(absl::Now() + absl::Milliseconds(2500)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  faults_->OpenWriteGate();
  demotes.join();
  EXPECT_EQ(store_->stats().gpu_blocks, 0);
  EXPECT_EQ(store_->Match(ns_, PromptTokens(1, kLong), 100).disk_blocks, kLong);
}

TEST_F(GpuFaultsTest, ATicketThatWaitsForTheGpuHoldsUpNoneForRam) {
  constexpr int64_t kLong = 32;
  OpenWithGpu(4, 64, 128);
  const std::vector<TokenId> tokens = PromptTokens(3, kLong);
  SealChain(ns_, PromptTokens(2, 1));
  SealChain(ns_, tokens);
  ASSERT_TRUE(store_->Demote().ok());
  // The GPU is full of blocks that are being copied to RAM and do not arrive.
  held_->Hold(Lane::kToHost);
  SealChainOnGpu(ns_, PromptTokens(1, 4));
  PinTicket on_gpu = StartPin(Tier::kGpu, PromptTokens(2, 1), {.first = 0, .count = 1});
  int64_t loaded = 0;
  bool has_ended = false;
  for (; loaded < kLong && !has_ended; ++loaded) {
    PinTicket in_ram = StartPin(Tier::kRam, tokens, {.first = loaded, .count = 1});
    ASSERT_TRUE(EndsWithin(in_ram, absl::Seconds(60)));
    ASSERT_EQ(in_ram.Take().blocks.size(), 1u) << loaded;
    has_ended = EndsWithin(on_gpu, absl::Milliseconds(100));
  }
  EXPECT_GE(loaded, 2) << "there was one ticket for RAM while the other waited";
  EXPECT_TRUE(has_ended) << "what comes to RAM is no room on the GPU";
  EXPECT_EQ(on_gpu.Take().blocks.size(), 0u);
  EXPECT_EQ(store_->stats().missed_no_room_tokens, kBlockTokens);
}

TEST_F(GpuFaultsTest, WhereRamAndGpuWaitForEachOtherNobodySpins) {
  PinTicket ticket = FillRamAboveTheGpu();
  const auto cpu_time = [] {
    timespec time = {};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return absl::DurationFromTimespec(time);
  };
  EXPECT_FALSE(EndsWithin(ticket, absl::Milliseconds(100)));
  const absl::Time begin = absl::Now();
  const absl::Duration before = cpu_time();
  EXPECT_FALSE(EndsWithin(ticket, absl::Milliseconds(500)));
  const absl::Duration used = cpu_time() - before;
  EXPECT_LT(used, (absl::Now() - begin) / 5);
  faults_->OpenLoadGate();
  ASSERT_TRUE(EndsWithin(ticket, absl::Seconds(60)));
  ticket.Take();  // its pins go now, whoever else holds its state still
}

TEST_F(GpuFaultsTest, PatienceWithTheDiskCountsFromWhenItLastMoved) {
  absl::Duration patience;
  // The last move is the last that the thread saw, which may have slept before.
  for (int i = 0; i < 3 && patience < absl::Milliseconds(300); ++i) {
    contents_ = std::make_shared<MemoryTierContents>();
    PinTicket ticket = FillRamAboveTheGpu();
    EXPECT_FALSE(EndsWithin(ticket, absl::Milliseconds(800)));
    EXPECT_EQ(store_->stats().dropped_blocks, 0) << "the load may make room";
    const absl::Time last_move = absl::Now();
    faults_->OpenLoadGate();
    ASSERT_TRUE(EndsWithin(ticket, absl::Seconds(60)));
    const PinnedPrefix held = ticket.Take();
    EXPECT_TRUE(SealOne(ns_, ns_.root, PromptTokens(6, 1)));
    EXPECT_GT(store_->stats().dropped_blocks, 0) << "nothing else makes room";
    patience = absl::Now() - last_move;
  }
  EXPECT_GE(patience, absl::Milliseconds(300)) << "of 500";
}

TEST_F(GpuFaultsTest, WhereTheGpuIsInTheWayRamGivesUpOneLastCopyAtATime) {
  PinTicket ticket = FillRamAboveTheGpu();
  faults_->OpenLoadGate();
  ASSERT_TRUE(EndsWithin(ticket, absl::Seconds(60)));
  const PinnedPrefix held = ticket.Take();
  // No write succeeds from here on, and none fails.
  faults_->CloseWriteGate();
  const absl::Time deadline = absl::Now() + absl::Seconds(60);
  while (store_->stats().dropped_blocks == 0 && absl::Now() < deadline) {
    store_->AwaitRoom(ns_, absl::Now() + absl::Milliseconds(10));
  }
  // The next one would go after half a second more.
  std::vector<WritableBlock> blocks;
  for (auto block = store_->Allocate(ns_); block.ok(); block = store_->Allocate(ns_)) {
    blocks.push_back(*std::move(block));
  }
  EXPECT_EQ(store_->stats().dropped_blocks, 1) << "of three";
  faults_->OpenWriteGate();
}

TEST_F(GpuFaultsTest, AnInvalidationReportsWhatIsHeldOnce) {
  OpenWithGpu(16, 16, 64);
  std::vector<BlockRef> held = SealChainOnGpu(ns_, PromptTokens(1, 2));
  held_->Hold(Lane::kToHost);
  PinTicket ticket = StartPin(Tier::kRam, PromptTokens(1, 2), {.first = 0, .count = 2});
  const auto first = store_->Invalidate(AllBlocks{}, absl::Now() + absl::Seconds(60));
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(first->gpu_blocks, 2);
  EXPECT_EQ(first->pinned_blocks, 2) << "by their holder, and by a ticket";
  const auto second = store_->Invalidate(AllBlocks{}, absl::Now() + absl::Seconds(60));
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->gpu_blocks, 0);
  EXPECT_EQ(second->pinned_blocks, 0) << "they were taken before";
  held_->LetGo(Lane::kToHost);
  ASSERT_TRUE(EndsWithin(ticket, absl::Seconds(60)));
  AwaitTransfers(0);
}

}  // namespace
}  // namespace reprise::cachestore
