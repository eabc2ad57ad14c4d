// Pin of LoadOrder::kByLayer to the GPU: steps read the first layers while the last ones are still
// copied, or read from disk, and read nothing wrong.
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "tests/fakes/gpu_store_fixture.h"

namespace reprise::cachestore {
namespace {

constexpr int64_t kChain = 6;
constexpr uint64_t kBlockBytes = 2048;
constexpr uint64_t kHalf = kBlockBytes / 2;  // one of two layers

class GpuByLayerTest : public GpuStoreFixture, public testing::WithParamInterface<uint64_t> {
 protected:
  void SetUp() override { seed_ = GetParam(); }
  void TearDown() override {
    faults_->LetLoadsEnd();
    GpuStoreFixture::TearDown();
  }
  // All work is as late as it may be; in another order what is unguarded can go well.
  bool IsLate() const { return seed_ == 0; }

  // Opens a store in which the chain of prompt 1 is in RAM.
  void PutInRam(int64_t ram_slots = 32) {
    OpenWithGpu(2 * kChain, ram_slots, 0);
    SealChain(ns_, PromptTokens(1, kChain));
    Begin();
  }
  // Opens one in which it is on disk alone, and whose loads by layer stop in the middle.
  void PutOnDisk(int64_t ram_slots = 32) {
    OpenWithGpu(2 * kChain, 32, 64);
    SealChain(ns_, PromptTokens(1, kChain));
    ASSERT_TRUE(store_->Demote().ok());
    OpenWithGpu(2 * kChain, ram_slots, 64);
    faults_->HoldLoadsBehind(kHalf);
    Begin();
  }
  void Begin() {
    keys_ = ChainKeys(ns_.root, PromptTokens(1, kChain), kBlockTokens);
    reads_ = 0;
    wrong_reads_ = 0;
  }

  PinTicket PinByLayer(absl::Time deadline = absl::InfiniteFuture(), uint32_t prompt = 1) {
    return store_->Pin(ns_, PromptTokens(prompt, kChain), BlockRange{.first = 0, .count = kChain},
                       nullptr, deadline, LoadOrder::kByLayer, Tier::kGpu);
  }
  static absl::Time Soon() { return absl::Now() + absl::Seconds(60); }
  static absl::Time AtOnce() { return absl::InfinitePast(); }

  // A step reads bytes [begin, end) of the blocks; what it sees is counted when it runs.
  void StepReadsBytes(const std::vector<const std::byte*>& addresses, uint64_t begin,
                      uint64_t end) {
    ASSERT_EQ(addresses.size(), keys_.size());
    for (size_t i = 0; i < addresses.size(); ++i) {
      Enqueue([this, key = keys_[i], begin, end, bytes = addresses[i]] {
        std::vector<std::byte> right(kBlockBytes);
        FillPayload(key, absl::MakeSpan(right));
        ++reads_;
        wrong_reads_ += std::memcmp(bytes + begin, right.data() + begin, end - begin) != 0;
      });
    }
  }
  // The ticket ends with its first `blocks` blocks, which are right.
  void ExpectEndsWith(PinTicket ticket, int64_t blocks) {
    ASSERT_TRUE(ticket.Wait(Soon()));
    const PinnedPrefix prefix = ticket.Take();
    EXPECT_EQ(static_cast<int64_t>(prefix.blocks.size()), blocks);
    StepReads(prefix.blocks);
    FinishSteps();
    EXPECT_EQ(wrong_reads_, 0);
  }
  void AwaitNoTransfers() {
    while (store_->stats().queued_transfers > 0) std::this_thread::yield();
  }

  std::vector<BlockKey> keys_;
};

TEST_P(GpuByLayerTest, AStepReadsTheFirstLayerBeforeTheLastIsCopied) {
  PutInRam();
  held_->Hold(Lane::kToDevice);
  PinTicket ticket = PinByLayer();
  const std::vector<const std::byte*> addresses = ticket.addresses();
  ASSERT_TRUE(ticket.AwaitBytes(kHalf, Soon()));
  StepReadsBytes(addresses, 0, kHalf);
  FinishSteps();
  EXPECT_EQ(reads_, kChain);
  EXPECT_EQ(wrong_reads_, 0);
  if (IsLate()) {
    EXPECT_GT(device_->num_waiting(Lane::kToDevice), 0u) << "the last layer was there, too";
  }
  EXPECT_FALSE(ticket.done());
  // A part that is under way is awaited by the lane; that all is there, only the end says.
  EXPECT_TRUE(ticket.AwaitBytes(kHalf + 1, AtOnce()));
  EXPECT_FALSE(ticket.AwaitBytes(kBlockBytes, AtOnce()));
  StepReadsBytes(addresses, kHalf, kBlockBytes);
  FinishSteps();
  EXPECT_EQ(reads_, 2 * kChain);
  EXPECT_EQ(wrong_reads_, 0);
  held_->LetGo(Lane::kToDevice);
  EXPECT_TRUE(ticket.AwaitBytes(kBlockBytes, Soon()));
  const PinnedPrefix prefix = ticket.Take();
  EXPECT_EQ(prefix.ram_blocks, kChain);
  for (int64_t i = 0; i < kChain; ++i) EXPECT_EQ(prefix.blocks[i].bytes().data(), addresses[i]);
  EXPECT_EQ(store_->stats().promoted_to_gpu_blocks, kChain);
  EXPECT_EQ(store_->stats().load_to_gpu.count(), kChain);
}

TEST_P(GpuByLayerTest, AStepThatDoesNotAwaitItsLayerReadsWrongBytes) {
  dropped_ = Guard::kAwait;
  dropped_lane_ = Lane::kCompute;
  PutInRam();
  held_->Hold(Lane::kToDevice);
  PinTicket ticket = PinByLayer();
  ASSERT_TRUE(ticket.AwaitBytes(kHalf, Soon()));
  StepReadsBytes(ticket.addresses(), 0, kHalf);
  FinishSteps();
  EXPECT_EQ(reads_, kChain);
  if (IsLate()) {
    EXPECT_GT(wrong_reads_, 0);
  }
  held_->LetGo(Lane::kToDevice);
  ASSERT_TRUE(ticket.Wait(Soon()));
  EXPECT_EQ(static_cast<int64_t>(ticket.Take().blocks.size()), kChain);
}

TEST_P(GpuByLayerTest, RamIsHeldUntilTheLastCopyHasLanded) {
  for (const Guard dropped : {Guard::kNone, Guard::kWait}) {
    dropped_ = dropped;
    dropped_lane_ = Lane::kToDevice;
    PutInRam(/*ram_slots=*/kChain);
    PinTicket ticket = PinByLayer();
    ASSERT_TRUE(ticket.Wait(Soon()));
    const PinnedPrefix prefix = ticket.Take();
    ASSERT_EQ(prefix.ram_blocks, kChain);
    // Takes the slots that the copies came from.
    SealChain(ns_, PromptTokens(2, kChain));
    for (const Lane lane : {Lane::kToDevice, Lane::kCompute}) {
      ASSERT_TRUE(device_->Wait(device_->Mark(lane)).ok());
    }
    StepReads(prefix.blocks);
    FinishSteps();
    EXPECT_EQ(reads_, kChain);
    if (dropped == Guard::kNone) {
      EXPECT_EQ(wrong_reads_, 0);
    } else if (IsLate()) {
      EXPECT_GT(wrong_reads_, 0);
    }
  }
}

// The pins of a prefix go before its step has run, and the next prefix takes its slots.
TEST_P(GpuByLayerTest, SlotsAreReusedAfterTheStepsThatReadThem) {
  for (const Guard dropped : {Guard::kNone, Guard::kMark}) {
    dropped_ = dropped;
    dropped_lane_ = Lane::kCompute;
    OpenWithGpu(kChain, 32, 0);
    Begin();
    for (uint32_t prompt : {1, 2, 3}) SealChain(ns_, PromptTokens(prompt, kChain));
    for (uint32_t prompt : {1, 2, 3}) {
      PinTicket ticket = PinByLayer(absl::InfiniteFuture(), prompt);
      EXPECT_EQ(ticket.addresses().size(), static_cast<size_t>(kChain));
      ASSERT_TRUE(ticket.Wait(Soon()));
      StepReads(ticket.Take().blocks);
    }
    FinishSteps();
    EXPECT_EQ(reads_, 3 * kChain);
    if (dropped == Guard::kNone) {
      EXPECT_EQ(wrong_reads_, 0);
    } else if (IsLate()) {
      EXPECT_GT(wrong_reads_, 0);
    }
  }
}

TEST_P(GpuByLayerTest, WhatDiskHasIsCopiedAsFarAsItIsVerified) {
  PutOnDisk();
  PinTicket ticket = PinByLayer();
  const std::vector<const std::byte*> addresses = ticket.addresses();
  ASSERT_TRUE(ticket.AwaitBytes(kHalf, Soon()));
  StepReadsBytes(addresses, 0, kHalf);
  FinishSteps();
  EXPECT_EQ(reads_, kChain);
  EXPECT_EQ(wrong_reads_, 0);
  EXPECT_FALSE(ticket.AwaitBytes(kHalf + 1, AtOnce()));
  faults_->LetLoadsEnd();
  ASSERT_TRUE(ticket.AwaitBytes(kHalf + 1, Soon()));
  StepReadsBytes(addresses, 0, kBlockBytes);
  ASSERT_TRUE(ticket.AwaitBytes(kBlockBytes, Soon()));
  FinishSteps();
  EXPECT_EQ(reads_, 2 * kChain);
  EXPECT_EQ(wrong_reads_, 0);
  const PinnedPrefix prefix = ticket.Take();
  EXPECT_EQ(prefix.disk_blocks, kChain);
  for (int64_t i = 0; i < kChain; ++i) EXPECT_EQ(prefix.blocks[i].bytes().data(), addresses[i]);
}

TEST_P(GpuByLayerTest, BlocksOfEveryTierGoTogether) {
  PutOnDisk();
  faults_->LetLoadsEnd();
  const std::vector<TokenId> prompt = PromptTokens(1, kChain);
  PinIn(Tier::kRam, ns_, absl::MakeConstSpan(prompt).first(4 * kBlockTokens));
  PinIn(Tier::kGpu, ns_, absl::MakeConstSpan(prompt).first(2 * kBlockTokens));
  faults_->HoldLoadsBehind(kHalf);
  PinTicket ticket = PinByLayer();
  const std::vector<const std::byte*> addresses = ticket.addresses();
  ASSERT_TRUE(ticket.AwaitBytes(kHalf, Soon()));
  StepReadsBytes(addresses, 0, kHalf);
  faults_->LetLoadsEnd();
  ASSERT_TRUE(ticket.AwaitBytes(kBlockBytes, Soon()));
  StepReadsBytes(addresses, 0, kBlockBytes);
  FinishSteps();
  EXPECT_EQ(reads_, 2 * kChain);
  EXPECT_EQ(wrong_reads_, 0);
  const PinnedPrefix prefix = ticket.Take();
  EXPECT_EQ(prefix.gpu_blocks, 2);
  EXPECT_EQ(prefix.ram_blocks, 2);
  EXPECT_EQ(prefix.disk_blocks, 2);
}

TEST_P(GpuByLayerTest, ABlockThatIsLostLateEndsTheWait) {
  for (int64_t bad = 0; bad < kChain; ++bad) {
    contents_ = std::make_shared<MemoryTierContents>();
    faults_ = std::make_shared<FaultPlan>();
    PutOnDisk();
    faults_->FailLoadsOf(keys_[bad], absl::DataLossError("bad bytes"));
    PinTicket ticket = PinByLayer();
    EXPECT_TRUE(ticket.AwaitBytes(kHalf, Soon()));
    faults_->LetLoadsEnd();
    EXPECT_FALSE(ticket.AwaitBytes(kBlockBytes, Soon()));
    ExpectEndsWith(std::move(ticket), bad);
    EXPECT_EQ(store_->stats().missed_corrupt_tokens, kBlockTokens);
  }
}

// Its place in RAM is not used again while a copy of its first layer still reads it.
TEST_P(GpuByLayerTest, ALostBlockKeepsItsSlotsUntilItsCopiesHaveLanded) {
  PutOnDisk(/*ram_slots=*/kChain);
  faults_->FailLoadsOf(keys_[0], absl::DataLossError("bad bytes"));
  held_->Hold(Lane::kToDevice);
  PinTicket ticket = PinByLayer();
  EXPECT_TRUE(ticket.AwaitBytes(kHalf, Soon()));
  faults_->LetLoadsEnd();
  EXPECT_EQ(store_->Allocate(ns_).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_FALSE(ticket.done());
  held_->LetGo(Lane::kToDevice);
  ExpectEndsWith(std::move(ticket), 0);
  AwaitNoTransfers();
  EXPECT_TRUE(store_->Allocate(ns_).ok());
}

TEST_P(GpuByLayerTest, ATicketThatIsGivenUpLeavesNothingPinnedAndItsBlocksOnTheGpu) {
  for (const bool from_disk : {false, true}) {
    if (from_disk) {
      PutOnDisk();
    } else {
      PutInRam();
    }
    held_->Hold(Lane::kToDevice);
    {
      PinTicket ticket = PinByLayer();
      EXPECT_TRUE(ticket.AwaitBytes(kHalf, Soon()));
    }
    faults_->LetLoadsEnd();
    held_->LetGo(Lane::kToDevice);
    AwaitNoTransfers();
    EXPECT_EQ(store_->stats().pinned_blocks, 0);
    EXPECT_EQ(store_->Match(ns_, PromptTokens(1, kChain), kChain).gpu_blocks, kChain);
    EXPECT_EQ(PinAndRead(ns_, PromptTokens(1, kChain)).gpu_blocks, kChain);
    FinishSteps();
    EXPECT_EQ(wrong_reads_, 0);
  }
}

TEST_P(GpuByLayerTest, ATicketWhoseTimeIsOverEndsWithoutWhatHasNotCome) {
  PutOnDisk();
  PinTicket late = PinByLayer(absl::Now() + absl::Milliseconds(20));
  EXPECT_FALSE(late.AwaitBytes(kBlockBytes, absl::InfiniteFuture()));
  ExpectEndsWith(std::move(late), 0);
  EXPECT_EQ(store_->stats().missed_deadline_tokens, kBlockTokens);
  faults_->LetLoadsEnd();
  AwaitNoTransfers();
}

// All slots of RAM would be held by blocks that wait for the others.
TEST_P(GpuByLayerTest, WithoutRoomForAllTheyGoByBlock) {
  PutOnDisk(/*ram_slots=*/4);
  PinTicket ticket = PinByLayer();
  EXPECT_TRUE(ticket.addresses().empty());
  faults_->LetLoadsEnd();
  ExpectEndsWith(std::move(ticket), kChain);
}

TEST_P(GpuByLayerTest, OthersWaitForTheSameCopiesOrGoByBlock) {
  OpenWithGpu(2 * kChain, 32, 0);
  for (uint32_t prompt : {1, 2}) SealChain(ns_, PromptTokens(prompt, kChain));
  Begin();
  held_->Hold(Lane::kToDevice);
  PinTicket first = PinByLayer();
  EXPECT_EQ(first.addresses().size(), static_cast<size_t>(kChain));
  PinTicket same = PinByLayer();
  PinTicket other = PinByLayer(absl::InfiniteFuture(), /*prompt=*/2);
  EXPECT_TRUE(same.addresses().empty());
  EXPECT_TRUE(other.addresses().empty());
  held_->LetGo(Lane::kToDevice);
  ExpectEndsWith(std::move(first), kChain);
  ExpectEndsWith(std::move(same), kChain);
  ExpectEndsWith(std::move(other), kChain);
  EXPECT_EQ(store_->stats().promoted_to_gpu_blocks, 2 * kChain);
}

TEST_P(GpuByLayerTest, ADeviceThatFailsEndsTheTicket) {
  for (const bool from_disk : {false, true}) {
    if (from_disk) {
      PutOnDisk();
    } else {
      PutInRam();
    }
    held_->Hold(Lane::kToDevice);
    PinTicket ticket = PinByLayer();
    EXPECT_TRUE(ticket.AwaitBytes(kHalf, Soon()));
    held_->FailLane(Lane::kToDevice, absl::InternalError("the bus is gone"));
    held_->LetGo(Lane::kToDevice);
    faults_->LetLoadsEnd();
    EXPECT_FALSE(ticket.AwaitBytes(kBlockBytes, Soon()));
    ASSERT_TRUE(ticket.Wait(Soon()));
    EXPECT_TRUE(ticket.Take().blocks.empty());
    AwaitNoTransfers();
    EXPECT_EQ(store_->stats().pinned_blocks, 0);
    // They are in RAM still.
    EXPECT_EQ(static_cast<int64_t>(PinIn(Tier::kRam, ns_, PromptTokens(1, kChain)).blocks.size()),
              kChain);
  }
}

TEST_P(GpuByLayerTest, WhatIsInvalidatedMeanwhileIsMissing) {
  PutOnDisk();
  PinTicket ticket = PinByLayer();
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

TEST_P(GpuByLayerTest, OfABlockSealedMeanwhileNothingThatWasToldCounts) {
  for (const Tier sealed_in : {Tier::kRam, Tier::kGpu}) {
    PutOnDisk();
    PinTicket ticket = PinByLayer();
    const std::vector<const std::byte*> addresses = ticket.addresses();
    EXPECT_TRUE(ticket.AwaitBytes(kHalf, Soon()));
    const BlockRef sealed = sealed_in == Tier::kRam ? SealOne(ns_, ns_.root, PromptTokens(1, 1))
                                                    : SealOnGpu(ns_, ns_.root, PromptTokens(1, 1));
    faults_->LetLoadsEnd();
    // Sealed in RAM it comes whole to where the first half of other bytes may have been read.
    EXPECT_FALSE(ticket.AwaitBytes(kBlockBytes, Soon()));
    ASSERT_TRUE(ticket.Wait(Soon()));
    const PinnedPrefix prefix = ticket.Take();
    ASSERT_EQ(prefix.blocks.size(), addresses.size());
    EXPECT_EQ(prefix.blocks[0].bytes().data() == addresses[0], sealed_in == Tier::kRam);
    StepReads(prefix.blocks);
    FinishSteps();
    EXPECT_EQ(wrong_reads_, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, GpuByLayerTest, testing::Values(0, 1, 2, 3),
                         [](const auto& info) { return "Seed" + std::to_string(info.param); });

}  // namespace
}  // namespace reprise::cachestore
