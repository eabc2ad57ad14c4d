// What DiskTier does while reads of its index hang or fail.
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "cachestore/tier/aligned_bytes.h"
#include "cachestore/tier/block_file.h"
#include "cachestore/tier/disk_tier.h"
#include "gtest/gtest.h"
#include "rocksdb/env.h"
#include "tests/cachestore/tier/bad_table_file_system.h"
#include "tests/cachestore/tier/block_samples.h"

namespace reprise::cachestore {
namespace {

constexpr int64_t kCapacityBytes = int64_t{64} << 20;
constexpr uint64_t kPayloadBytes = 8192;

class IndexIoTest : public testing::Test {
 protected:
  // A tier whose records lie in a table of the index: RocksDB moves its log there when it opens.
  IndexIoTest() : chain_(SampleChain(1, 20, kPayloadBytes)) {
    Open();
    CHECK(StoreAll(*tier_, chain_).ok());
    Open();
  }

  void Open() {
    tier_.reset();
    auto tier = OpenDiskTier({.directory = directory_.path(), .capacity_bytes = kCapacityBytes},
                             MakePosixBlockFileSystem(), env_.get());
    CHECK(tier.ok());
    tier_ = *std::move(tier);
  }

  ScratchDirectory directory_;
  std::shared_ptr<TableReads> table_reads_ = std::make_shared<TableReads>();
  std::unique_ptr<rocksdb::Env> env_ =
      rocksdb::NewCompositeEnv(std::make_shared<BadTableFileSystem>(table_reads_));
  std::vector<SampleBlock> chain_;
  std::unique_ptr<BackingTier> tier_;
};

TEST_F(IndexIoTest, WhoStartsALoadDoesNotWaitForTheIndex) {
  table_reads_->Hang();
  AlignedBytes loaded(AlignUp(kPayloadBytes));
  absl::Status status = absl::UnknownError("not loaded");
  absl::Notification started;
  absl::Notification done;
  std::vector<LoadRequest> batch(1);
  batch[0] = {.block = chain_[7].block(),
              .payload = loaded.span().first(kPayloadBytes),
              .done = [&](const absl::Status& end) {
                status = end;
                done.Notify();
              }};
  std::thread starter([&] {
    tier_->StartLoads(std::move(batch));
    started.Notify();
  });
  table_reads_->AwaitHanging();
  EXPECT_TRUE(started.WaitForNotificationWithTimeout(absl::Seconds(20)));
  EXPECT_FALSE(done.HasBeenNotified());
  table_reads_->Resume();
  starter.join();
  done.WaitForNotification();
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_TRUE(LoadAndCompare(*tier_, chain_[7].block()).ok());
}

TEST_F(IndexIoTest, ARecordThatCannotBeReadHoldsUpNoOther) {
  std::vector<SampleBlock> young = SampleChain(100, 3, kPayloadBytes);  // not in the table
  ASSERT_TRUE(StoreAll(*tier_, young).ok());
  const int64_t free_before = tier_->FreeSlots(kPayloadBytes);
  table_reads_->Fail();
  const absl::Status erased = tier_->Erase({young[2].block().key, chain_[19].block().key});
  EXPECT_TRUE(erased.ok()) << erased;
  EXPECT_EQ(tier_->num_blocks(), 21);
  EXPECT_EQ(tier_->FreeSlots(kPayloadBytes), free_before + 1) << "that of the other is unknown";
  EXPECT_TRUE(tier_->Store({young[2].to_store()}).ok());
  EXPECT_TRUE(tier_->Store({chain_[19].to_store()}).ok());
  table_reads_->Resume();
  for (const SampleBlock& block : chain_) EXPECT_TRUE(LoadAndCompare(*tier_, block.block()).ok());
  for (const SampleBlock& block : young) EXPECT_TRUE(LoadAndCompare(*tier_, block.block()).ok());
  Open();
  EXPECT_EQ(tier_->num_blocks(), 23);
  EXPECT_EQ(tier_->FreeSlots(kPayloadBytes), free_before) << "the next start finds it";
}

TEST_F(IndexIoTest, ABlockThatATableMayHoldIsCountedOnce) {
  std::vector<SampleBlock> more = SampleChain(1000, 2000, kPayloadBytes);
  ASSERT_TRUE(StoreAll(*tier_, more).ok());
  Open();
  table_reads_->Fail();
  // One absent key in a hundred passes the table's filter, and its record cannot be read.
  constexpr int kBatch = 100;
  for (int batch = 0; batch < 4; ++batch) {
    std::vector<SampleBlock> blocks = SampleChain(10000 + batch * kBatch, kBatch, kPayloadBytes);
    std::vector<BlockKey> keys;
    for (const SampleBlock& block : blocks) keys.push_back(block.block().key);
    ASSERT_TRUE(StoreAll(*tier_, blocks).ok());
    EXPECT_EQ(tier_->num_blocks(), 2020 + kBatch);
    ASSERT_TRUE(tier_->Erase(keys).ok());
    EXPECT_EQ(tier_->num_blocks(), 2020);
  }
  table_reads_->Resume();
}

}  // namespace
}  // namespace reprise::cachestore
