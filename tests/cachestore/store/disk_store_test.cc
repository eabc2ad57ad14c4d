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

TEST_F(DiskStoreTest, TheFirstBlockOfASecondSizeCostsOneFileOfTheFirst) {
  OpenOnDisk(64, 8 << 20);  // files of 128 slots of this size
  const NamespaceHandle wide = OpenNamespace(TestIdentity("wide", 6));
  for (uint32_t prompt = 0; prompt < 160; ++prompt) {
    SealChain(ns_, PromptTokens(prompt, 8));
    if (prompt % 8 == 7) {
      ASSERT_TRUE(store_->Demote().ok());
    }
  }
  const int64_t full = store_->stats().disk_blocks;
  ASSERT_GT(full, 1000);
  SealChain(wide, PromptTokens(1, 4));
  ASSERT_TRUE(store_->Demote().ok());
  EXPECT_EQ(store_->Match(wide, PromptTokens(1, 4), 10).disk_blocks, 4);
  EXPECT_GT(store_->stats().disk_blocks, full - 2 * 128);
  // What goes is what was used longest ago, and the sizes share the disk from now on.
  EXPECT_EQ(store_->Match(ns_, PromptTokens(159, 8), 10).disk_blocks, 8);
  for (uint32_t prompt = 2; prompt < 80; ++prompt) {
    SealChain(wide, PromptTokens(prompt, 4));
    if (prompt % 8 == 7) {
      ASSERT_TRUE(store_->Demote().ok());
    }
  }
  EXPECT_EQ(store_->Match(wide, PromptTokens(79, 4), 10).disk_blocks, 4);
  EXPECT_EQ(store_->Match(wide, PromptTokens(40, 4), 10).disk_blocks, 4);
  EXPECT_EQ(store_->CheckIntegrity(), absl::OkStatus());
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
