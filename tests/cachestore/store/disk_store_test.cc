// The store over the real disk tier.
#include <gtest/gtest.h>

#include "tests/fakes/disk_store_fixture.h"

namespace reprise::cachestore {
namespace {

using DiskStoreTest = DiskStoreFixture;

TEST_F(DiskStoreTest, BlocksSurviveARestartAndKeepTheirBytes) {
  OpenOnDisk(32, 8 << 20);
  for (uint32_t prompt = 0; prompt < 8; ++prompt) SealChain(ns_, PromptTokens(prompt, 12));
  ASSERT_TRUE(store_->Demote().ok());
  const BlockKey root = ns_.root;
  EXPECT_EQ(store_->CheckIntegrity(), absl::OkStatus());
  OpenOnDisk(32, 8 << 20);
  EXPECT_EQ(ns_.root, root) << "the secret is persisted";
  EXPECT_EQ(store_->stats().recovered_blocks, 8 * 12);
  for (uint32_t prompt = 0; prompt < 8; ++prompt) {
    EXPECT_EQ(PinNow(ns_, PromptTokens(prompt, 12)).disk_blocks, 12);
  }
  EXPECT_EQ(PinNow(ns_, PromptTokens(99, 12)).blocks.size(), 0u);
  ExpectLookupsAreConserved();
}

TEST_F(DiskStoreTest, TheDiskBudgetHoldsUnderOverflow) {
  OpenOnDisk(16, 2 << 20);
  for (uint32_t prompt = 0; prompt < 100; ++prompt) {
    SealChain(ns_, PromptTokens(prompt, 10));
    const StoreStats stats = store_->stats();
    ASSERT_LE(stats.disk_used_bytes, stats.disk_capacity_bytes);
  }
  ASSERT_TRUE(store_->Demote().ok());
  EXPECT_GT(store_->stats().dropped_blocks, 0);
  EXPECT_GT(PinNow(ns_, PromptTokens(99, 10)).disk_blocks, 0);
}

TEST_F(DiskStoreTest, ADirectoryServesOneStoreAtATime) {
  OpenOnDisk(16, 2 << 20);
  StoreOptions options = Options(16);
  options.disk.directory = directory_.string();
  options.disk.capacity_bytes = 2 << 20;
  EXPECT_EQ(TieredStore::Open(options).status().code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace reprise::cachestore
