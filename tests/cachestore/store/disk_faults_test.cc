// What the store does when the disk tier fails: it stays usable, counts, and tries again.
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "tests/fakes/store_fixture.h"

namespace reprise::cachestore {
namespace {

using DiskFaultsTest = StoreFixture;

TEST_F(DiskFaultsTest, WhenTheDiskRefusesWritesOldBlocksAreDroppedInstead) {
  for (const absl::Status& fault :
       {absl::ResourceExhaustedError("no space left"), absl::InternalError("write failed")}) {
    contents_ = std::make_shared<MemoryTierContents>();
    OpenWithDisk(8, 64);
    faults_->FailWrites(fault);
    for (uint32_t prompt = 0; prompt < 8; ++prompt) {
      EXPECT_EQ(SealChain(ns_, PromptTokens(prompt, 4)).size(), 4u);
    }
    const StoreStats stats = store_->stats();
    EXPECT_GT(stats.failed_disk_writes, 0);
    EXPECT_GT(stats.dropped_blocks, 0);
    EXPECT_EQ(stats.disk_blocks, 0);
    EXPECT_EQ(PinNow(ns_, PromptTokens(7, 4)).ram_blocks, 4);
    // The disk recovers; demoting works again.
    faults_->FailWrites(absl::OkStatus());
    ASSERT_TRUE(store_->Demote().ok());
    EXPECT_EQ(PinNow(ns_, PromptTokens(7, 4)).disk_blocks, 4);
    EXPECT_EQ(store_->CheckIntegrity(), absl::OkStatus());
  }
}

TEST_F(DiskFaultsTest, BlocksOverflowToDiskAgainOnceItTakesWrites) {
  OpenWithDisk(8, 64);
  faults_->FailWrites(absl::InternalError("write failed"));
  uint32_t prompt = 0;
  while (faults_->failed_writes() == 0) SealChain(ns_, PromptTokens(prompt++, 2));
  faults_->FailWrites(absl::OkStatus());
  const absl::Time deadline = absl::Now() + absl::Seconds(30);
  while (store_->stats().disk_blocks == 0 && absl::Now() < deadline) {
    SealChain(ns_, PromptTokens(prompt++, 2));
  }
  EXPECT_GT(store_->stats().disk_blocks, 0);
}

TEST_F(DiskFaultsTest, AFailingDiskIsNotHammered) {
  OpenWithDisk(4, 64);
  faults_->FailWrites(absl::InternalError("write failed"));
  for (uint32_t prompt = 0; prompt < 200; ++prompt) {
    ASSERT_EQ(SealChain(ns_, PromptTokens(prompt, 2)).size(), 2u);
  }
  EXPECT_GT(faults_->failed_writes(), 0);
  EXPECT_LT(faults_->failed_writes(), 100) << "retries pause";
}

TEST_F(DiskFaultsTest, DemoteDropsWhatDiskRejects) {
  OpenWithDisk(8, 64);
  SealChain(ns_, PromptTokens(1, 5));
  faults_->FailWrites(absl::InternalError("write failed"));
  const absl::StatusOr<int64_t> moved = store_->Demote();
  ASSERT_TRUE(moved.ok());
  EXPECT_EQ(*moved, 0) << "dropped blocks did not move";
  EXPECT_EQ(store_->stats().ram_blocks, 0);
  EXPECT_EQ(store_->stats().dropped_blocks, 5);
  EXPECT_EQ(store_->Match(ns_, PromptTokens(1, 5), 10).total_blocks(), 0);
}

TEST_F(DiskFaultsTest, DemoteReturnsAtItsDeadlineThoughTheDiskHangs) {
  OpenWithDisk(8, 64);
  SealChain(ns_, PromptTokens(1, 3));
  faults_->CloseWriteGate();
  // Until the demoter has seen one of them in time.
  const absl::Time give_up = absl::Now() + absl::Seconds(60);
  do {
    const auto first = store_->Demote(absl::Now() + absl::Milliseconds(50));
    EXPECT_EQ(first.status().code(), absl::StatusCode::kDeadlineExceeded) << first.status();
  } while (faults_->writes() == 0 && absl::Now() < give_up);
  ASSERT_GT(faults_->writes(), 0);
  const auto queued = store_->Demote(absl::Now() + absl::Milliseconds(50));
  EXPECT_EQ(queued.status().code(), absl::StatusCode::kDeadlineExceeded) << queued.status();
  faults_->OpenWriteGate();
  ASSERT_TRUE(store_->Demote().ok());
  EXPECT_EQ(PinNow(ns_, PromptTokens(1, 3)).disk_blocks, 3);
}

TEST_F(DiskFaultsTest, ABadCopyThatCannotBeErasedIsNeverReadAgain) {
  OpenWithDisk(8, 64);
  SealChain(ns_, PromptTokens(1, 3));
  ASSERT_TRUE(store_->Demote().ok());
  const std::vector<BlockKey> keys = ChainKeys(ns_.root, PromptTokens(1, 3), kBlockTokens);
  faults_->FailLoadsOf(keys[1], absl::DataLossError("bad bytes"));
  faults_->FailWrites(absl::InternalError("write failed"));
  EXPECT_EQ(PinNow(ns_, PromptTokens(1, 3)).blocks.size(), 1u);
  ASSERT_TRUE(store_->Demote().ok());
  EXPECT_EQ(contents_->items.size(), 3u) << "the erase failed";
  const int64_t loads = faults_->loads();
  EXPECT_EQ(PinNow(ns_, PromptTokens(1, 3)).blocks.size(), 1u);
  EXPECT_EQ(faults_->loads(), loads + 1) << "only the good block was read";
  faults_->FailWrites(absl::OkStatus());
  ASSERT_TRUE(store_->Demote().ok());
  EXPECT_EQ(contents_->items.size(), 1u);
}

TEST_F(DiskFaultsTest, ABadBlockIsStoredAgainOnlyAfterItsBadCopyIsGone) {
  OpenWithDisk(8, 64);
  SealChain(ns_, PromptTokens(1, 3));
  ASSERT_TRUE(store_->Demote().ok());
  const std::vector<BlockKey> keys = ChainKeys(ns_.root, PromptTokens(1, 3), kBlockTokens);
  faults_->FailLoadsOf(keys[0], absl::DataLossError("bad bytes"));
  faults_->FailWrites(absl::InternalError("write failed"));
  EXPECT_EQ(PinNow(ns_, PromptTokens(1, 3)).blocks.size(), 0u);
  const std::vector<BlockRef> pins = SealChain(ns_, PromptTokens(1, 3));
  ASSERT_TRUE(store_->Demote().ok());
  EXPECT_EQ(store_->Match(ns_, PromptTokens(1, 3), 10).ram_blocks, 3);
  EXPECT_EQ(store_->CheckIntegrity(), absl::OkStatus());
  faults_->FailWrites(absl::OkStatus());
  faults_->FailLoadsOf(keys[0], absl::OkStatus());
  SealChain(ns_, PromptTokens(2, 1));
  // The fake tier fails the test if a key is stored that it still has.
  ASSERT_TRUE(store_->Demote().ok());
}

TEST_F(DiskFaultsTest, ABlockComputedAgainReplacesACopyThatCannotBeRead) {
  OpenWithDisk(8, 64);
  SealChain(ns_, PromptTokens(1, 3));
  ASSERT_TRUE(store_->Demote().ok());
  const std::vector<BlockKey> keys = ChainKeys(ns_.root, PromptTokens(1, 3), kBlockTokens);
  const uint64_t bad_sequence = contents_->items[keys[1]].block.sequence;
  faults_->FailLoadsOf(keys[1], absl::InternalError("read failed"));
  EXPECT_EQ(PinNow(ns_, PromptTokens(1, 3)).blocks.size(), 1u);
  EXPECT_EQ(store_->Match(ns_, PromptTokens(1, 3), 10).total_blocks(), 3) << "it may be a hiccup";
  SealChain(ns_, PromptTokens(1, 3));
  ASSERT_TRUE(store_->Demote().ok());
  EXPECT_GT(contents_->items[keys[1]].block.sequence, bad_sequence) << "written anew";
  faults_->FailLoadsOf(keys[1], absl::OkStatus());
  EXPECT_EQ(PinNow(ns_, PromptTokens(1, 3)).disk_blocks, 3);
}

TEST_F(DiskFaultsTest, DemoteWaitsForLoadsOfCopiesThatAreBeingReplaced) {
  OpenWithDisk(8, 64);
  SealChain(ns_, PromptTokens(1, 1));
  ASSERT_TRUE(store_->Demote().ok());
  const BlockKey key = ChainKeys(ns_.root, PromptTokens(1, 1), kBlockTokens)[0];
  const uint64_t bad_sequence = contents_->items[key].block.sequence;
  faults_->FailLoadsOf(key, absl::InternalError("read failed"));
  EXPECT_EQ(PinNow(ns_, PromptTokens(1, 1)).blocks.size(), 0u);
  // A load that goes on without its ticket, of a copy that is condemned meanwhile.
  faults_->CloseLoadGate();
  { const PinTicket abandoned = store_->Pin(ns_, PromptTokens(1, 1), 1, nullptr); }
  faults_->AwaitLoads(2);
  SealChain(ns_, PromptTokens(1, 1));
  const auto moved = store_->Demote(absl::Now() + absl::Milliseconds(50));
  EXPECT_EQ(moved.status().code(), absl::StatusCode::kDeadlineExceeded) << moved.status();
  EXPECT_EQ(store_->stats().ram_blocks, 1);
  // Others of its requests wait as well, and need nobody to ask again.
  std::thread opener([this] { faults_->OpenLoadGate(); });
  const auto waited = store_->Demote();
  opener.join();
  EXPECT_TRUE(waited.ok()) << waited.status();
  EXPECT_EQ(store_->stats().ram_blocks, 0);
  faults_->FailLoadsOf(key, absl::OkStatus());
  EXPECT_EQ(PinNow(ns_, PromptTokens(1, 1)).disk_blocks, 1);
  EXPECT_GT(contents_->items[key].block.sequence, bad_sequence) << "written anew";
}

TEST_F(DiskFaultsTest, ABlockSealedWhileItsCopyCannotBeReadReplacesIt) {
  OpenWithDisk(8, 64);
  SealChain(ns_, PromptTokens(1, 3));
  ASSERT_TRUE(store_->Demote().ok());
  const std::vector<BlockKey> keys = ChainKeys(ns_.root, PromptTokens(1, 3), kBlockTokens);
  const uint64_t bad_sequence = contents_->items[keys[1]].block.sequence;
  faults_->FailLoadsOf(keys[1], absl::InternalError("read failed"));
  faults_->CloseLoadGate();
  PinTicket ticket = store_->Pin(ns_, PromptTokens(1, 3), 100, nullptr);
  faults_->AwaitLoads(2);
  SealChain(ns_, PromptTokens(1, 3));
  faults_->OpenLoadGate();
  ASSERT_TRUE(ticket.Wait(absl::Now() + absl::Seconds(60)));
  ASSERT_EQ(ticket.Take().blocks.size(), 3u) << "of RAM";
  ASSERT_TRUE(store_->Demote().ok());
  EXPECT_GT(contents_->items[keys[1]].block.sequence, bad_sequence) << "written anew";
  faults_->FailLoadsOf(keys[1], absl::OkStatus());
  EXPECT_EQ(PinNow(ns_, PromptTokens(1, 3)).disk_blocks, 3);
}

TEST_F(DiskFaultsTest, ACopyThatCannotBeReadTwiceIsGivenUp) {
  OpenWithDisk(8, 64);
  SealChain(ns_, PromptTokens(1, 3));
  ASSERT_TRUE(store_->Demote().ok());
  const std::vector<BlockKey> keys = ChainKeys(ns_.root, PromptTokens(1, 3), kBlockTokens);
  faults_->FailLoadsOf(keys[1], absl::InternalError("read failed"));
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(store_->Match(ns_, PromptTokens(1, 3), 10).total_blocks(), 3);
    EXPECT_EQ(PinNow(ns_, PromptTokens(1, 3)).blocks.size(), 1u);
  }
  EXPECT_EQ(store_->Match(ns_, PromptTokens(1, 3), 10).total_blocks(), 1);
  ASSERT_TRUE(store_->Demote().ok());
  EXPECT_EQ(contents_->items.size(), 1u);
  EXPECT_EQ(store_->stats().missed_io_error_tokens, 2 * kBlockTokens);
}

TEST_F(DiskFaultsTest, ABlockWhoseBytesChangeInRamIsDroppedAndNeverStored) {
  OpenWithDisk(8, 64);
  {
    const std::vector<BlockRef> pins = SealChain(ns_, PromptTokens(1, 4));
    const_cast<std::byte&>(pins[2].bytes()[100]) ^= std::byte{4};
    SealChain(ns_, PromptTokens(2, 2));
  }
  const absl::StatusOr<int64_t> moved = store_->Demote();
  ASSERT_TRUE(moved.ok());
  EXPECT_EQ(*moved, 4);
  const StoreStats stats = store_->stats();
  EXPECT_EQ(stats.corrupt_ram_blocks, 1);
  EXPECT_EQ(stats.dropped_blocks, 2) << "with the block below it";
  EXPECT_EQ(stats.failed_disk_writes, 0);
  EXPECT_EQ(PinNow(ns_, PromptTokens(1, 4)).disk_blocks, 2);
  EXPECT_EQ(PinNow(ns_, PromptTokens(2, 2)).disk_blocks, 2);
}

TEST_F(DiskFaultsTest, SeveralCorruptBlocksOfABatchCostTheOthersOneWriteMore) {
  OpenWithDisk(16, 64);
  {
    // The third block of a chain, the one below it, and one of another chain.
    const std::vector<BlockRef> first = SealChain(ns_, PromptTokens(1, 5));
    const std::vector<BlockRef> second = SealChain(ns_, PromptTokens(2, 4));
    for (const BlockRef* block : {&first[2], &first[3], &second[1]}) {
      const_cast<std::byte&>(block->bytes()[100]) ^= std::byte{4};
    }
  }
  faults_->CloseWriteGate();
  faults_->LetWritesPass(2);  // the batch, and what is left of it
  EXPECT_TRUE(store_->Demote(absl::Now() + absl::Seconds(20)).ok());
  faults_->OpenWriteGate();
  EXPECT_EQ(store_->stats().failed_disk_writes, 0);
  EXPECT_EQ(PinNow(ns_, PromptTokens(1, 5)).disk_blocks, 2);
  EXPECT_EQ(PinNow(ns_, PromptTokens(2, 4)).disk_blocks, 1);
}

TEST_F(DiskFaultsTest, ABlockFoundCorruptWhileItIsPinnedIsNotGivenToAnyoneElse) {
  OpenWithDisk(8, 64);
  SealChain(ns_, PromptTokens(1, 1));
  faults_->CloseWriteGate();
  std::thread demotion([this] { EXPECT_TRUE(store_->Demote().ok()); });
  faults_->AwaitWrites(1);
  PinnedPrefix reader = PinNow(ns_, PromptTokens(1, 1));
  ASSERT_EQ(reader.blocks.size(), 1u);
  const_cast<std::byte&>(reader.blocks[0].bytes()[100]) ^= std::byte{4};
  faults_->OpenWriteGate();
  demotion.join();
  ASSERT_EQ(store_->stats().corrupt_ram_blocks, 1);
  const BlockRef sealed = SealOne(ns_, ns_.root, PromptTokens(1, 1));
  EXPECT_TRUE(PayloadIsRight(sealed.key(), sealed.bytes()));
  EXPECT_EQ(PinNow(ns_, PromptTokens(1, 1)).blocks.size(), 0u);
}

TEST_F(DiskFaultsTest, DemoteMovesEveryOldBlockThoughOthersComeIntoRamMeanwhile) {
  OpenWithDisk(128, 256);
  SealChain(ns_, PromptTokens(1, 40));
  ASSERT_TRUE(store_->Demote().ok());
  for (uint32_t prompt = 10; prompt < 15; ++prompt) SealChain(ns_, PromptTokens(prompt, 8));
  faults_->CloseWriteGate();
  std::thread demotion([&] {
    const absl::StatusOr<int64_t> moved = store_->Demote();
    ASSERT_TRUE(moved.ok());
    EXPECT_EQ(*moved, 40);
  });
  faults_->AwaitWrites(1);
  EXPECT_EQ(PinNow(ns_, PromptTokens(1, 40)).disk_blocks, 40);
  faults_->OpenWriteGate();
  demotion.join();
  for (uint32_t prompt = 10; prompt < 15; ++prompt) {
    EXPECT_EQ(store_->Match(ns_, PromptTokens(prompt, 8), 10).disk_blocks, 8);
  }
  EXPECT_EQ(store_->Match(ns_, PromptTokens(1, 40), 100).ram_blocks, 40) << "used since";
}

TEST_F(DiskFaultsTest, UsefulAdmissionSparesTheDiskBlocksThatWouldOnlyPushOutBetterOnes) {
  admission_ = DiskAdmission::kUseful;
  OpenWithDisk(32, 8);
  // The disk fills up and overflows once.
  for (uint32_t prompt = 1; prompt <= 3; ++prompt) {
    SealChain(ns_, PromptTokens(prompt, 4));
    ASSERT_TRUE(store_->Demote().ok());
  }
  ASSERT_EQ(store_->stats().disk_blocks, 8);
  SealChain(ns_, PromptTokens(4, 4));  // nobody asks for it again
  SealChain(ns_, PromptTokens(5, 4));
  PinNow(ns_, PromptTokens(5, 4));  // somebody does for this one
  PinNow(ns_, PromptTokens(2, 4));
  PinNow(ns_, PromptTokens(3, 4));
  const int64_t dropped = store_->stats().dropped_blocks;
  ASSERT_TRUE(store_->Demote().ok());
  EXPECT_EQ(store_->stats().rejected_blocks, 4);
  EXPECT_EQ(store_->Match(ns_, PromptTokens(4, 4), 10).total_blocks(), 0);
  EXPECT_EQ(store_->Match(ns_, PromptTokens(5, 4), 10).disk_blocks, 4);
  EXPECT_EQ(store_->stats().dropped_blocks, dropped + 8) << "it, and what the other one pushed out";
}

TEST_F(DiskFaultsTest, OrphansAndForeignBlocksOnDiskAreErasedAtOpen) {
  OpenWithDisk(8, 64);
  SealChain(ns_, PromptTokens(1, 3));
  SealChain(ns_, PromptTokens(2, 2));
  ASSERT_TRUE(store_->Demote().ok());
  store_.reset();
  const std::vector<BlockKey> first = ChainKeys(ns_.root, PromptTokens(1, 3), kBlockTokens);
  const std::vector<BlockKey> second = ChainKeys(ns_.root, PromptTokens(2, 2), kBlockTokens);
  contents_->items.erase(first[0]);                  // its children are orphans
  contents_->items[second[1]].block.tokens[0] ^= 1;  // not the block that its key names
  OpenWithDisk(8, 64);
  EXPECT_EQ(store_->stats().recovered_blocks, 1);
  EXPECT_EQ(contents_->items.size(), 1u);
  EXPECT_EQ(PinNow(ns_, PromptTokens(2, 2)).disk_blocks, 1);
  EXPECT_EQ(PinNow(ns_, PromptTokens(1, 3)).disk_blocks, 0);
}

TEST_F(DiskFaultsTest, AfterARestartTheOldestPromptIsGivenUpFirstAndFromItsEnd) {
  OpenWithDisk(16, 8);
  for (uint32_t prompt = 1; prompt <= 2; ++prompt) {
    SealChain(ns_, PromptTokens(prompt, 4));
    ASSERT_TRUE(store_->Demote().ok());
  }
  OpenWithDisk(16, 8);
  ASSERT_EQ(store_->stats().recovered_blocks, 8);
  SealChain(ns_, PromptTokens(3, 3));
  ASSERT_TRUE(store_->Demote().ok());
  EXPECT_EQ(store_->Match(ns_, PromptTokens(1, 4), 10).disk_blocks, 1);
  EXPECT_EQ(store_->Match(ns_, PromptTokens(2, 4), 10).disk_blocks, 4);
  EXPECT_EQ(store_->Match(ns_, PromptTokens(3, 3), 10).disk_blocks, 3);
}

TEST_F(DiskFaultsTest, AnErrorOfTheTierAtOpenIsTheStoresError) {
  class Unreadable : public MemoryBackingTier {
   public:
    using MemoryBackingTier::MemoryBackingTier;
    absl::Status ForEach(absl::FunctionRef<void(const StoredBlock&)>) override {
      return absl::InternalError("index unreadable");
    }
  };
  const auto store = TieredStore::Open(Options(4), std::make_unique<Unreadable>(1 << 20));
  EXPECT_EQ(store.status(), absl::InternalError("index unreadable"));
}

}  // namespace
}  // namespace reprise::cachestore
