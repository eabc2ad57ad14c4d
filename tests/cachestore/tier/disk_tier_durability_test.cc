// What DiskTier relies on to survive a crash, and what it does when its index refuses writes.
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "cachestore/tier/block_catalog.h"
#include "cachestore/tier/disk_options.h"
#include "cachestore/tier/disk_tier.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cachestore/tier/bad_log_file_system.h"
#include "tests/cachestore/tier/block_samples.h"

namespace reprise::cachestore {
namespace {

constexpr int64_t kCapacityBytes = int64_t{4} << 20;
constexpr uint64_t kPayloadBytes = 20000;

// Real files that remember what was written and not synced, and can lose it.
class ForgetfulFiles final : public BlockFileSystem {
 public:
  absl::StatusOr<std::unique_ptr<BlockFile>> Create(const std::string& path,
                                                    uint64_t bytes) override {
    return Wrap(path, real_->Create(path, bytes));
  }
  absl::StatusOr<std::unique_ptr<BlockFile>> Open(const std::string& path) override {
    return Wrap(path, real_->Open(path));
  }
  absl::Status Remove(const std::string& path) override { return real_->Remove(path); }
  absl::StatusOr<std::vector<Entry>> List(const std::string& directory) override {
    return real_->List(directory);
  }
  void Post(absl::AnyInvocable<void() &&> work) override { real_->Post(std::move(work)); }
  int max_in_flight() const override { return real_->max_in_flight(); }
  absl::string_view io_method() const override { return real_->io_method(); }

  // Overwrites everything that was written since the last sync of its file, as a power cut may.
  void Crash() {
    absl::MutexLock lock(&mu_);
    for (const Unsynced& range : unsynced_) {
      const int fd = open(range.path.c_str(), O_WRONLY);
      const std::string garbage(range.bytes, '?');
      CHECK(pwrite(fd, garbage.data(), garbage.size(), static_cast<off_t>(range.offset)) ==
            static_cast<ssize_t>(garbage.size()));
      close(fd);
    }
    unsynced_.clear();
  }
  int num_unsynced() const {
    absl::MutexLock lock(&mu_);
    return static_cast<int>(unsynced_.size());
  }

  std::function<void()> before_sync = [] {};

 private:
  struct Unsynced {
    std::string path;
    uint64_t offset;
    size_t bytes;
  };

  class File final : public BlockFile {
   public:
    File(ForgetfulFiles& owner, std::string path, std::unique_ptr<BlockFile> real)
        : owner_(owner), path_(std::move(path)), real_(std::move(real)) {}

    void StartReads(std::vector<BlockRead> batch) override { real_->StartReads(std::move(batch)); }
    void StartWrites(std::vector<BlockWrite> batch) override {
      {
        absl::MutexLock lock(&owner_.mu_);
        for (const BlockWrite& write : batch) {
          size_t bytes = 0;
          for (const auto& piece : write.pieces) bytes += piece.size();
          owner_.unsynced_.push_back({path_, write.offset, bytes});
        }
      }
      real_->StartWrites(std::move(batch));
    }
    absl::Status Sync() override {
      owner_.before_sync();
      const absl::Status synced = real_->Sync();
      absl::MutexLock lock(&owner_.mu_);
      std::erase_if(owner_.unsynced_, [&](const Unsynced& range) { return range.path == path_; });
      return synced;
    }

   private:
    ForgetfulFiles& owner_;
    const std::string path_;
    const std::unique_ptr<BlockFile> real_;
  };

  absl::StatusOr<std::unique_ptr<BlockFile>> Wrap(const std::string& path,
                                                  absl::StatusOr<std::unique_ptr<BlockFile>> file) {
    if (!file.ok()) return file.status();
    return std::make_unique<File>(*this, path, *std::move(file));
  }

  const std::unique_ptr<BlockFileSystem> real_ = MakePosixBlockFileSystem();
  mutable absl::Mutex mu_;
  std::vector<Unsynced> unsynced_ ABSL_GUARDED_BY(mu_);
};

TEST(DiskTierDurabilityTest, PayloadIsOnDiskBeforeAnyRecordNamesIt) {
  ScratchDirectory directory;
  const DiskTierOptions options = {.directory = directory.path(), .capacity_bytes = kCapacityBytes};
  const auto files = std::make_shared<ForgetfulFiles>();
  auto tier = OpenDiskTier(options, files);
  ASSERT_TRUE(tier.ok()) << tier.status();
  // A file has 21 slots: the second batch lies in two.
  std::vector<SampleBlock> first = SampleChain(1, 15, kPayloadBytes);
  std::vector<SampleBlock> second = SampleChain(100, 25, kPayloadBytes);
  ASSERT_TRUE(StoreAll(**tier, first).ok());
  int num_syncs = 0;
  ScratchDirectory copy;
  files->before_sync = [&] {
    // What a crash here would leave of the index.
    const std::string at = copy.path() + "/" + std::to_string(++num_syncs);
    std::filesystem::copy(directory.path() + "/index", at);
    std::filesystem::remove(at + "/LOCK");
    auto index = BlockCatalog::Open(at);
    ASSERT_TRUE(index.ok()) << index.status();
    EXPECT_TRUE((*index)->Find(first[0].block().key)->has_value());
    for (const SampleBlock& block : second) {
      EXPECT_FALSE((*index)->Find(block.block().key)->has_value());
    }
  };
  ASSERT_TRUE(StoreAll(**tier, second).ok());
  EXPECT_GE(num_syncs, 2);
  EXPECT_EQ(files->num_unsynced(), 0);
  files->Crash();
  tier->reset();
  auto reopened = OpenDiskTier(options);
  ASSERT_TRUE(reopened.ok()) << reopened.status();
  EXPECT_EQ((*reopened)->num_blocks(), 40);
  for (const SampleBlock& block : first) {
    EXPECT_TRUE(LoadAndCompare(**reopened, block.block()).ok());
  }
  for (const SampleBlock& block : second) {
    EXPECT_TRUE(LoadAndCompare(**reopened, block.block()).ok());
  }
}

TEST(DiskTierDurabilityTest, WritesOfTheIndexAreSynced) { EXPECT_TRUE(IndexWriteOptions().sync); }

class BadIndexTest : public testing::Test {
 protected:
  BadIndexTest() { Open(); }
  void Open() {
    tier_.reset();
    auto tier = OpenDiskTier({.directory = directory_.path(), .capacity_bytes = kCapacityBytes},
                             MakePosixBlockFileSystem(), env_.get());
    CHECK(tier.ok());
    tier_ = *std::move(tier);
  }

  // Tries until it works: RocksDB looks for space every few seconds.
  static absl::Status Persist(absl::FunctionRef<absl::Status()> attempt) {
    const absl::Time deadline = absl::Now() + absl::Seconds(60);
    absl::Status status = attempt();
    while (!status.ok() && absl::Now() < deadline) {
      status = attempt();
    }
    return status;
  }

  ScratchDirectory directory_;
  SharedLogState log_ = std::make_shared<std::atomic<LogState>>(LogState::kGood);
  std::unique_ptr<rocksdb::Env> env_ = MakeBadLogEnv(log_);
  std::unique_ptr<BackingTier> tier_;
};

TEST_F(BadIndexTest, ARefusedStoreIsWithdrawnAndItsSlotsAreFreedOnceTheIndexTakesWrites) {
  const int64_t capacity = tier_->CapacitySlots(kPayloadBytes);
  std::vector<SampleBlock> kept = SampleChain(1, 3, kPayloadBytes);
  std::vector<SampleBlock> refused = SampleChain(50, 5, kPayloadBytes);
  ASSERT_TRUE(StoreAll(*tier_, kept).ok());
  *log_ = LogState::kFull;
  EXPECT_EQ(StoreAll(*tier_, refused).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(tier_->FreeSlots(kPayloadBytes), capacity - 8) << "a record may name the slots";
  EXPECT_FALSE(StoreAll(*tier_, refused).ok());
  EXPECT_EQ(tier_->FreeSlots(kPayloadBytes), capacity - 8) << "no more of them";
  EXPECT_EQ(tier_->num_blocks(), 3);
  EXPECT_TRUE(LoadAndCompare(*tier_, kept[2].block()).ok());
  *log_ = LogState::kGood;
  const absl::Status stored = Persist([&] { return StoreAll(*tier_, refused); });
  ASSERT_TRUE(stored.ok()) << stored;
  EXPECT_EQ(tier_->FreeSlots(kPayloadBytes), capacity - 8);
  EXPECT_EQ(tier_->num_blocks(), 8);
  Open();
  EXPECT_EQ(tier_->num_blocks(), 8);
  EXPECT_TRUE(LoadAndCompare(*tier_, refused[4].block()).ok());
}

TEST_F(BadIndexTest, ARefusedEraseLeaksNoSlots) {
  const int64_t capacity = tier_->CapacitySlots(kPayloadBytes);
  std::vector<SampleBlock> chain = SampleChain(1, 6, kPayloadBytes);
  ASSERT_TRUE(StoreAll(*tier_, chain).ok());
  const std::vector<BlockKey> keys = {chain[5].block().key, chain[4].block().key};
  *log_ = LogState::kFull;
  EXPECT_FALSE(tier_->Erase(keys).ok());
  EXPECT_FALSE(tier_->Erase(keys).ok());
  EXPECT_EQ(tier_->FreeSlots(kPayloadBytes), capacity - 6);
  *log_ = LogState::kGood;
  const absl::Status erased = Persist([&] { return tier_->Erase(keys); });
  ASSERT_TRUE(erased.ok()) << erased;
  EXPECT_EQ(tier_->FreeSlots(kPayloadBytes), capacity - 4);
  EXPECT_EQ(tier_->num_blocks(), 4);
  ASSERT_TRUE(tier_->Erase({chain[3].block().key}).ok());
  EXPECT_EQ(tier_->FreeSlots(kPayloadBytes), capacity - 3);
  EXPECT_EQ(tier_->used_bytes(), 3 * (4096 + 20480));
}

TEST_F(BadIndexTest, AnIoErrorOfTheLogStopsStoresAndNotLoadsUntilTheTierIsOpenedAgain) {
  std::vector<SampleBlock> kept = SampleChain(1, 3, kPayloadBytes);
  std::vector<SampleBlock> refused = SampleChain(50, 5, kPayloadBytes);
  ASSERT_TRUE(StoreAll(*tier_, kept).ok());
  *log_ = LogState::kBroken;
  EXPECT_EQ(StoreAll(*tier_, refused).code(), absl::StatusCode::kInternal);
  *log_ = LogState::kGood;
  for (const SampleBlock& block : kept) EXPECT_TRUE(LoadAndCompare(*tier_, block.block()).ok());
  Open();
  for (const SampleBlock& block : kept) EXPECT_TRUE(LoadAndCompare(*tier_, block.block()).ok());
  std::vector<BlockKey> keys;  // their records may have reached the log
  for (const SampleBlock& block : refused) keys.push_back(block.block().key);
  EXPECT_TRUE(tier_->Erase(keys).ok());
  EXPECT_TRUE(StoreAll(*tier_, refused).ok());
  EXPECT_EQ(tier_->num_blocks(), 8);
}

}  // namespace
}  // namespace reprise::cachestore
