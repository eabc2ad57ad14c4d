// Invalidate over the real disk tier: what it says is gone is not back after a restart either.
#include <atomic>
#include <memory>
#include <vector>

#include "cachestore/tier/block_file.h"
#include "cachestore/tier/disk_tier.h"
#include "gtest/gtest.h"
#include "tests/cachestore/tier/bad_log_file_system.h"
#include "tests/fakes/disk_store_fixture.h"

namespace reprise::cachestore {
namespace {

class InvalidateDurabilityTest : public DiskStoreFixture {
 protected:
  void Open() {
    store_.reset();
    auto tier = OpenDiskTier({.directory = directory_.string(), .capacity_bytes = int64_t{8} << 20},
                             MakePosixBlockFileSystem(), env_.get());
    ASSERT_TRUE(tier.ok()) << tier.status();
    auto store = TieredStore::Open(Options(/*ram_slots=*/16), *std::move(tier));
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
    ns_ = OpenNamespace(TestIdentity());
  }

  // The records of `prompt` are in the index's log, and the store was told that they are not.
  void StoreWithoutKnowing(uint32_t prompt, int64_t num_blocks) {
    Open();
    // Its namespace is known on disk, and nothing else is there.
    SealChain(ns_, PromptTokens(100, 1));
    ASSERT_TRUE(store_->Demote().ok());
    ASSERT_TRUE(store_->Invalidate(AllBlocks{}, absl::InfiniteFuture()).ok());
    ASSERT_EQ(store_->stats().disk_blocks, 0);
    *log_ = LogState::kUnsynced;
    SealChain(ns_, PromptTokens(prompt, num_blocks));
    ASSERT_TRUE(store_->Demote().ok());
    ASSERT_GT(store_->stats().failed_disk_writes, 0);
    ASSERT_EQ(store_->Match(ns_, PromptTokens(prompt, num_blocks), 100).total_blocks(), 0);
  }

  SharedLogState log_ = std::make_shared<std::atomic<LogState>>(LogState::kGood);
  std::unique_ptr<rocksdb::Env> env_ = MakeBadLogEnv(log_);
};

TEST_F(InvalidateDurabilityTest, IsNotOkWhileABlockOfAFailedWriteMayComeBack) {
  StoreWithoutKnowing(1, 3);
  const absl::Status status =
      store_->Invalidate(AllBlocks{}, absl::Now() + absl::Milliseconds(200)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  *log_ = LogState::kGood;
  Open();
  EXPECT_EQ(store_->Match(ns_, PromptTokens(1, 3), 100).disk_blocks, 3) << "it had a reason";
}

TEST_F(InvalidateDurabilityTest, IsOkOnceTheDiskHasForgottenTheBlocksOfAFailedWrite) {
  StoreWithoutKnowing(1, 3);
  *log_ = LogState::kGood;
  // RocksDB looks for space every few seconds.
  const auto report = store_->Invalidate(AllBlocks{}, absl::Now() + absl::Seconds(60));
  EXPECT_TRUE(report.ok()) << report.status();
  Open();
  EXPECT_EQ(store_->stats().recovered_blocks, 0);
}

}  // namespace
}  // namespace reprise::cachestore
