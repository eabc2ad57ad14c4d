// The GPU tier of the store: where blocks go, what they hold when they come back, what happens when
// room is short or the device fails.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "tests/fakes/gpu_store_fixture.h"

namespace reprise::cachestore {
namespace {

constexpr int64_t kChain = 8;

class GpuTierTest : public GpuStoreFixture {
 protected:
  void TearDown() override {
    if (store_ != nullptr) FinishSteps();
    EXPECT_EQ(wrong_reads_, 0);
    GpuStoreFixture::TearDown();
  }
  // All of a chain, wherever it is, as a step on the GPU reads it.
  int64_t ReadableOnGpu(const std::vector<TokenId>& tokens) {
    const PinnedPrefix prefix = PinAndRead(ns_, tokens);
    FinishSteps();
    return static_cast<int64_t>(prefix.blocks.size());
  }
};

TEST_F(GpuTierTest, TheEngineComputesOnItWhereThereIsOne) {
  OpenRamOnly(4);
  EXPECT_EQ(store_->compute_tier(), Tier::kRam);
  EXPECT_EQ(store_->capacity_blocks(ns_, Tier::kGpu), 0);
  OpenWithGpu(16, 4, 0);
  EXPECT_EQ(store_->compute_tier(), Tier::kGpu);
  EXPECT_EQ(store_->capacity_blocks(ns_, Tier::kGpu), 16);
  EXPECT_EQ(store_->capacity_blocks(ns_), 4);
}

TEST_F(GpuTierTest, ATierWithoutADeviceIsRefused) {
  StoreOptions options = Options(4);
  options.gpu.capacity_bytes = 1 << 20;
  const absl::Status status = TieredStore::Open(options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), testing::HasSubstr("gpu.capacity_bytes is 1048576"));
}

TEST_F(GpuTierTest, WhatIsSealedThereIsFoundThereAndReadByTheNextStep) {
  OpenWithGpu(16, 4, 0);
  const std::vector<TokenId> tokens = PromptTokens(1, kChain);
  StepReads(SealChainOnGpu(ns_, tokens));
  EXPECT_EQ(store_->Match(ns_, tokens, 100).gpu_blocks, kChain);
  EXPECT_EQ(ReadableOnGpu(tokens), kChain);
  EXPECT_EQ(reads_, 2 * kChain);
  EXPECT_EQ(store_->stats().hit_gpu_tokens, kChain * kBlockTokens);
  EXPECT_EQ(store_->stats().gpu_used_bytes, kChain * kSlotBytes);
}

TEST_F(GpuTierTest, BytesSurviveTheWayDownToDiskAndBack) {
  for (seed_ = 0; seed_ < 4; ++seed_) {
    contents_ = std::make_shared<MemoryTierContents>();
    OpenWithGpu(16, 16, 64);
    const std::vector<TokenId> tokens = PromptTokens(1, kChain);
    SealChainOnGpu(ns_, tokens);
    ASSERT_TRUE(store_->Demote().ok());
    EXPECT_EQ(store_->stats().gpu_blocks, 0);
    EXPECT_EQ(store_->stats().ram_blocks, 0);
    EXPECT_EQ(store_->Match(ns_, tokens, 100).disk_blocks, kChain);
    reads_ = 0;
    EXPECT_EQ(PinAndRead(ns_, tokens).disk_blocks, kChain);
    FinishSteps();
    EXPECT_EQ(reads_, kChain);
    EXPECT_EQ(wrong_reads_, 0) << "seed " << seed_;
    EXPECT_EQ(store_->stats().promoted_to_gpu_blocks, kChain);
  }
}

TEST_F(GpuTierTest, AByteThatChangesOnTheWayIsSeen) {
  OpenWithGpu(16, 16, 64);
  const std::vector<TokenId> tokens = PromptTokens(1, kChain);
  {
    const std::vector<BlockRef> refs = SealChainOnGpu(ns_, tokens);
    Enqueue(
        [byte = const_cast<std::byte*>(refs[3].bytes().data()) + 700] { *byte ^= std::byte{1}; });
  }
  FinishSteps();
  ASSERT_TRUE(store_->Demote().ok());
  EXPECT_EQ(PinAndRead(ns_, tokens).disk_blocks, kChain);
  FinishSteps();
  EXPECT_EQ(wrong_reads_, 1);
  wrong_reads_ = 0;
}

TEST_F(GpuTierTest, AHostReaderGetsACopyInRam) {
  OpenWithGpu(16, 16, 0);
  const std::vector<TokenId> tokens = PromptTokens(1, kChain);
  SealChainOnGpu(ns_, tokens);
  const PinnedPrefix prefix = PinIn(Tier::kRam, ns_, tokens);
  EXPECT_EQ(prefix.gpu_blocks, kChain);
  EXPECT_EQ(WrongInRam(prefix), 0);
  EXPECT_EQ(store_->stats().copied_from_gpu_blocks, kChain);
  EXPECT_EQ(store_->stats().hit_gpu_tokens, kChain * kBlockTokens);
  EXPECT_EQ(PinIn(Tier::kRam, ns_, tokens).ram_blocks, kChain) << "and it stays there";
}

TEST_F(GpuTierTest, WhatAClientPutIntoRamComesToTheGpu) {
  OpenWithGpu(16, 16, 0);
  const std::vector<TokenId> tokens = PromptTokens(1, kChain);
  SealChain(ns_, tokens);
  const PinnedPrefix prefix = PinAndRead(ns_, tokens);
  EXPECT_EQ(prefix.ram_blocks, kChain);
  EXPECT_EQ(store_->Match(ns_, tokens, 100).gpu_blocks, kChain);
}

// A client that keeps its mapping of RAM can change a block that it has sealed. The copy that comes
// back from the GPU must not pass for what was sealed, whoever asks for it.
TEST_F(GpuTierTest, WhatChangedInRamOnItsWayToTheGpuDoesNotComeBack) {
  for (const bool by_demoter : {false, true}) {
    SCOPED_TRACE(by_demoter);
    OpenWithGpu(16, 16, 0);
    const std::vector<TokenId> tokens = PromptTokens(1, kChain);
    BlockKey parent = ns_.root;
    for (int64_t i = 0; i < kChain; ++i) {
      absl::StatusOr<WritableBlock> block = store_->Allocate(ns_);
      ASSERT_TRUE(block.ok());
      const BlockContent content =
          absl::MakeConstSpan(tokens).subspan(i * kBlockTokens, kBlockTokens);
      FillPayload(ChildKey(parent, content.words()), block->bytes());
      const absl::Span<std::byte> bytes = block->bytes();
      parent = store_->Seal(ns_, *std::move(block), parent, content, HashBytes64(bytes)).key();
      if (i == 3) bytes[100] ^= std::byte{4};
    }
    PinAndRead(ns_, tokens);
    FinishSteps();
    EXPECT_EQ(wrong_reads_.exchange(0), 1) << "nothing reads them again on the way";
    // RAM gives up its copies, which the GPU has too, for later ones.
    SealChain(ns_, PromptTokens(2, 16));
    ASSERT_EQ(store_->Match(ns_, tokens, 100).gpu_blocks, kChain);
    ASSERT_EQ(store_->stats().ram_blocks, 16);
    if (by_demoter) {
      PinIn(Tier::kGpu, ns_, tokens);
      SealChainOnGpu(ns_, PromptTokens(3, 12));
    } else {
      const PinnedPrefix prefix = PinIn(Tier::kRam, ns_, tokens);
      EXPECT_EQ(prefix.blocks.size(), 3u);
      EXPECT_EQ(WrongInRam(prefix), 0);
      EXPECT_EQ(store_->stats().missed_corrupt_tokens, kBlockTokens);
    }
    EXPECT_EQ(store_->stats().corrupt_ram_blocks, 1);
    EXPECT_LE(store_->Match(ns_, tokens, 100).gpu_blocks, 3) << "with all that is below it";
    EXPECT_LE(PinAndRead(ns_, tokens).blocks.size(), 3u);
    FinishSteps();
  }
}

TEST_F(GpuTierTest, ALongPrefixPassesThroughASmallRam) {
  constexpr int64_t kLong = 24;
  OpenWithGpu(32, 4, 64);
  const std::vector<TokenId> tokens = PromptTokens(1, kLong);
  SealChainOnGpu(ns_, tokens);
  ASSERT_TRUE(store_->Demote().ok());
  EXPECT_EQ(store_->Match(ns_, tokens, 100).disk_blocks, kLong);
  EXPECT_EQ(PinAndRead(ns_, tokens).disk_blocks, kLong);
  EXPECT_LE(store_->stats().ram_used_bytes, 4 * kSlotBytes);
}

TEST_F(GpuTierTest, WithoutADiskAndWithLittleRamTheOldestLeavesGo) {
  OpenWithGpu(16, 4, 0);
  for (uint32_t prompt = 1; prompt <= 8; ++prompt) {
    SealChainOnGpu(ns_, PromptTokens(prompt, 6));
    ASSERT_EQ(store_->CheckIntegrity(), absl::OkStatus());
  }
  EXPECT_GT(store_->stats().dropped_blocks, 0);
  EXPECT_GT(store_->stats().copied_from_gpu_blocks, 0) << "RAM takes what it can";
  EXPECT_EQ(ReadableOnGpu(PromptTokens(8, 6)), 6);
}

TEST_F(GpuTierTest, WithADiskNothingIsDropped) {
  OpenWithGpu(16, 8, 256);
  for (uint32_t prompt = 1; prompt <= 10; ++prompt) SealChainOnGpu(ns_, PromptTokens(prompt, 6));
  for (uint32_t prompt = 1; prompt <= 10; ++prompt) {
    EXPECT_EQ(ReadableOnGpu(PromptTokens(prompt, 6)), 6) << "prompt " << prompt;
    ASSERT_EQ(store_->CheckIntegrity(), absl::OkStatus());
  }
  const StoreStats stats = store_->stats();
  EXPECT_EQ(stats.dropped_blocks, 0);
  EXPECT_GT(stats.demoted_from_gpu_blocks, 40);
  EXPECT_GT(stats.hit_disk_tokens, 0);
}

TEST_F(GpuTierTest, ABlockOfRamBelowOneOfTheGpuReachesTheDisk) {
  OpenWithGpu(16, 6, 64);
  const std::vector<TokenId> tokens = PromptTokens(1, 6);
  {
    std::vector<BlockRef> refs =
        SealChainOnGpu(ns_, absl::MakeSpan(tokens).first(3 * kBlockTokens));
    for (size_t i = 3; i < 6; ++i) {
      refs.push_back(SealOne(ns_, refs.back().key(),
                             absl::MakeSpan(tokens).subspan(i * kBlockTokens, kBlockTokens)));
    }
  }
  // RAM is nearly full of blocks that cannot be stored before their parents, which only the GPU
  // has.
  for (uint32_t prompt = 2; prompt <= 6; ++prompt) SealChain(ns_, PromptTokens(prompt, 2));
  EXPECT_EQ(ReadableOnGpu(tokens), 6);
}

TEST_F(GpuTierTest, PinnedBlocksLeaveNoRoomAndComeBackWithTheirPins) {
  OpenWithGpu(8, 8, 0);
  std::vector<BlockRef> held = SealChainOnGpu(ns_, PromptTokens(1, 8));
  EXPECT_EQ(store_->Allocate(ns_, Tier::kGpu).status().code(),
            absl::StatusCode::kResourceExhausted);
  SealChain(ns_, PromptTokens(2, 2));
  EXPECT_EQ(PinIn(Tier::kGpu, ns_, PromptTokens(2, 2)).blocks.size(), 0u);
  EXPECT_EQ(store_->stats().missed_no_room_tokens, kBlockTokens);
  std::thread waiter([&] {
    store_->AwaitRoom(ns_, absl::Now() + absl::Seconds(60), Tier::kGpu);
    EXPECT_TRUE(store_->Allocate(ns_, Tier::kGpu).ok());
  });
  StepReads(held);
  held.clear();
  waiter.join();
}

TEST_F(GpuTierTest, ABlockSealedTwiceIsKeptOnceAndOneThatIsBeingLoadedIsReplaced) {
  OpenWithGpu(16, 16, 64);
  const std::vector<TokenId> tokens = PromptTokens(1, 1);
  const BlockRef first = SealOnGpu(ns_, ns_.root, tokens);
  const BlockRef second = SealOnGpu(ns_, ns_.root, tokens);
  EXPECT_EQ(first.bytes().data(), second.bytes().data());
  EXPECT_EQ(store_->stats().duplicate_seals, 1);
  EXPECT_EQ(store_->stats().gpu_used_bytes, kSlotBytes);
  SealChain(ns_, PromptTokens(2, 2));
  ASSERT_TRUE(store_->Demote().ok());
  faults_->CloseLoadGate();
  PinTicket ticket = store_->Pin(ns_, PromptTokens(2, 2), {.first = 0, .count = 2}, nullptr,
                                 absl::InfiniteFuture(), LoadOrder::kByBlock, Tier::kGpu);
  const BlockRef sealed = SealOnGpu(ns_, ns_.root, PromptTokens(2, 1));
  faults_->OpenLoadGate();
  ASSERT_TRUE(ticket.Wait(absl::Now() + absl::Seconds(60)));
  const PinnedPrefix prefix = ticket.Take();
  ASSERT_EQ(prefix.blocks.size(), 2u);
  EXPECT_EQ(prefix.blocks[0].bytes().data(), sealed.bytes().data());
  StepReads(prefix.blocks);
}

TEST_F(GpuTierTest, TicketsForBothTiersOfTheSameBlocksBothEnd) {
  OpenWithGpu(16, 16, 64);
  SealChain(ns_, PromptTokens(1, kChain));
  ASSERT_TRUE(store_->Demote().ok());
  faults_->CloseLoadGate();
  const auto pin = [&](Tier tier) {
    return store_->Pin(ns_, PromptTokens(1, kChain), {.first = 0, .count = kChain}, nullptr,
                       absl::InfiniteFuture(), LoadOrder::kByBlock, tier);
  };
  PinTicket tickets[] = {pin(Tier::kGpu), pin(Tier::kRam), pin(Tier::kGpu), pin(Tier::kRam)};
  { const PinTicket given_up = pin(Tier::kGpu); }
  faults_->OpenLoadGate();
  for (PinTicket& ticket : tickets) {
    ASSERT_TRUE(ticket.Wait(absl::Now() + absl::Seconds(60)));
    const PinnedPrefix prefix = ticket.Take();
    EXPECT_EQ(prefix.blocks.size(), static_cast<size_t>(kChain));
    if (&ticket == &tickets[1] || &ticket == &tickets[3]) {
      EXPECT_EQ(WrongInRam(prefix), 0);
    } else {
      StepReads(prefix.blocks);
    }
  }
  EXPECT_EQ(store_->stats().promoted_blocks, kChain) << "each was loaded once";
}

TEST_F(GpuTierTest, WhatIsInvalidatedLeavesAllTiers) {
  OpenWithGpu(32, 16, 64);
  const std::vector<BlockRef> held = SealChainOnGpu(ns_, PromptTokens(1, 4));
  SealChainOnGpu(ns_, PromptTokens(2, 4));
  PinIn(Tier::kRam, ns_, PromptTokens(2, 4));
  SealChain(ns_, PromptTokens(3, 4));
  const auto report = store_->Invalidate(AllBlocks{}, absl::Now() + absl::Seconds(60));
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->gpu_blocks, 8);
  EXPECT_EQ(report->ram_blocks, 8);
  EXPECT_EQ(report->pinned_blocks, 4);
  for (uint32_t prompt = 1; prompt <= 3; ++prompt) {
    EXPECT_EQ(store_->Match(ns_, PromptTokens(prompt, 4), 100).total_blocks(), 0);
  }
  StepReads(held);
  EXPECT_EQ(store_->stats().gpu_blocks, 4) << "what is pinned stays for its holders";
}

TEST_F(GpuTierTest, ABlockWhoseParentWasInvalidatedStaysPrivate) {
  OpenWithGpu(32, 16, 0);
  const std::vector<TokenId> tokens = PromptTokens(1, 2);
  BlockRef parent = SealOnGpu(ns_, ns_.root, absl::MakeSpan(tokens).first(kBlockTokens));
  ASSERT_TRUE(store_->Invalidate(AllBlocks{}, absl::Now() + absl::Seconds(60)).ok());
  BlockRef child =
      SealOnGpu(ns_, parent.key(), absl::MakeSpan(tokens).subspan(kBlockTokens, kBlockTokens));
  EXPECT_EQ(store_->Match(ns_, tokens, 100).total_blocks(), 0);
  StepReads({});
  parent = BlockRef();
  child = BlockRef();
  EXPECT_EQ(store_->stats().gpu_used_bytes, 0);
}

TEST_F(GpuTierTest, CopyIntoFillsBlocksInTurnWithTheStepsInOneCopy) {
  OpenWithGpu(16, 16, 0);
  const std::vector<BlockRef> refs = SealChainOnGpu(ns_, PromptTokens(1, 3));
  std::vector<WritableBlock> blocks;
  for (size_t i = 0; i < refs.size(); ++i) blocks.push_back(*store_->Allocate(ns_, Tier::kGpu));
  const size_t waiting = device_->num_waiting(Lane::kCompute);
  std::vector<BlockCopy> copies;
  for (size_t i = 0; i < refs.size(); ++i) copies.push_back({&blocks[i], refs[i].bytes()});
  ASSERT_TRUE(store_->CopyInto(copies).ok());
  EXPECT_EQ(device_->num_waiting(Lane::kCompute), waiting + 1);
  for (size_t i = 0; i < refs.size(); ++i) {
    Enqueue([this, key = refs[i].key(), bytes = blocks[i].bytes()] {
      ++reads_;
      if (!PayloadIsRight(key, bytes)) ++wrong_reads_;
    });
  }
  FinishSteps();
  EXPECT_EQ(reads_, 3);
  EXPECT_TRUE(store_->CopyInto({}).ok());
}

TEST_F(GpuTierTest, WhenTheDeviceFailsItsTierIsGivenUpAndNothingWrongIsServed) {
  OpenWithGpu(16, 16, 64);
  SealChainOnGpu(ns_, PromptTokens(1, 4));
  std::vector<BlockRef> held = SealChainOnGpu(ns_, PromptTokens(2, 4));
  SealChain(ns_, PromptTokens(3, 4));
  FinishSteps();
  EXPECT_EQ(PinIn(Tier::kGpu, ns_, PromptTokens(3, 4)).blocks.size(), 4u);
  device_->Fail(absl::InternalError("the device fell off the bus"));
  // Finds out, and gets nothing; what RAM has too stays.
  EXPECT_EQ(PinIn(Tier::kRam, ns_, PromptTokens(1, 4)).blocks.size(), 0u);
  EXPECT_EQ(store_->stats().lost_gpu_blocks, 8);
  EXPECT_EQ(store_->stats().missed_io_error_tokens, kBlockTokens);
  EXPECT_EQ(store_->stats().gpu_blocks, 0);
  EXPECT_EQ(store_->Match(ns_, PromptTokens(1, 4), 100).total_blocks(), 0);
  EXPECT_EQ(store_->Match(ns_, PromptTokens(2, 4), 100).total_blocks(), 0);
  EXPECT_EQ(store_->CheckIntegrity(), absl::OkStatus());
  EXPECT_EQ(WrongInRam(PinIn(Tier::kRam, ns_, PromptTokens(3, 4))), 0);
  EXPECT_EQ(store_->Match(ns_, PromptTokens(3, 4), 100).ram_blocks, 4);
  EXPECT_EQ(PinIn(Tier::kGpu, ns_, PromptTokens(3, 4)).blocks.size(), 0u);
  EXPECT_EQ(store_->Allocate(ns_, Tier::kGpu).status().code(), absl::StatusCode::kInternal);
  // The pinned blocks' keys can be sealed anew meanwhile, in RAM.
  const std::vector<BlockRef> again = SealChain(ns_, PromptTokens(2, 4));
  EXPECT_EQ(store_->Match(ns_, PromptTokens(2, 4), 100).ram_blocks, 4);
  held.clear();
  EXPECT_EQ(store_->stats().gpu_used_bytes, 0);
}

}  // namespace
}  // namespace reprise::cachestore
