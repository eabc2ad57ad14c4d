// The store over the real disk tier.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/fakes/store_fixture.h"

namespace reprise::cachestore {
namespace {

class DiskStoreTest : public StoreFixture {
 protected:
  void SetUp() override {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "reprise-store-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override {
    StoreFixture::TearDown();
    store_.reset();
    std::filesystem::remove_all(directory_);
  }
  void OpenOnDisk(int64_t ram_slots, int64_t disk_bytes) {
    store_.reset();
    StoreOptions options = Options(ram_slots);
    options.disk.directory = directory_.string();
    options.disk.capacity_bytes = disk_bytes;
    auto store = TieredStore::Open(options);
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
    ns_ = OpenNamespace(TestIdentity());
  }

  std::filesystem::path directory_;
};

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
