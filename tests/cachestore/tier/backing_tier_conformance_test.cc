// What every BackingTier promises; each implementation is one line at the end.
#include <unistd.h>

#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "cachestore/tier/aligned_bytes.h"
#include "cachestore/tier/backing_tier.h"
#include "cachestore/tier/disk_tier.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cachestore/tier/block_samples.h"

namespace reprise::cachestore {
namespace {

constexpr int64_t kCapacityBytes = int64_t{4} << 20;
constexpr uint64_t kPayloadBytes = 20000;

struct Implementation {
  std::string name;
  std::string parent_directory;
};

class BackingTierTest : public testing::TestWithParam<Implementation> {
 protected:
  void SetUp() override {
    if (access(GetParam().parent_directory.c_str(), W_OK) != 0) {
      GTEST_SKIP() << "no " << GetParam().parent_directory;
    }
    directory_ = std::make_unique<ScratchDirectory>(GetParam().parent_directory);
    Reopen();
  }

  void Reopen() {
    tier_.reset();
    auto tier = OpenDiskTier({.directory = directory_->path(), .capacity_bytes = kCapacityBytes});
    ASSERT_TRUE(tier.ok()) << tier.status();
    tier_ = *std::move(tier);
  }

  std::unique_ptr<ScratchDirectory> directory_;
  std::unique_ptr<BackingTier> tier_;
};

TEST_P(BackingTierTest, LoadsWhatWasStored) {
  std::vector<SampleBlock> chain = SampleChain(1, 5, kPayloadBytes);
  EXPECT_EQ(LoadAndCompare(*tier_, chain[0].block()).code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(StoreAll(*tier_, chain).ok());
  for (const SampleBlock& block : chain) {
    const absl::Status loaded = LoadAndCompare(*tier_, block.block());
    EXPECT_TRUE(loaded.ok()) << loaded;
  }
  EXPECT_EQ(tier_->num_blocks(), 5);
}

TEST_P(BackingTierTest, KeepsStatesByTheirNames) {
  EXPECT_EQ(tier_->LoadState("model").status().code(), absl::StatusCode::kNotFound);
  const std::string bytes(100'000, '\0');
  ASSERT_TRUE(tier_->SaveState("model", "old").ok());
  ASSERT_TRUE(tier_->SaveState("model", bytes).ok());
  ASSERT_TRUE(tier_->SaveState("other", "").ok());
  Reopen();
  EXPECT_EQ(*tier_->LoadState("model"), bytes);
  EXPECT_EQ(*tier_->LoadState("other"), "");
  EXPECT_EQ(tier_->LoadState("mode").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(tier_->used_bytes(), 0);
}

TEST_P(BackingTierTest, EveryLoadOfABatchEndsOnceOnAThreadOfTheTier) {
  constexpr int kBlocks = 40;
  std::vector<SampleBlock> chain = SampleChain(1, kBlocks, kPayloadBytes);
  SampleBlock absent = std::move(chain.back());
  chain.pop_back();
  ASSERT_TRUE(StoreAll(*tier_, chain).ok());
  chain.push_back(std::move(absent));
  std::vector<AlignedBytes> loaded;
  std::vector<LoadRequest> batch(kBlocks);
  absl::Mutex mu;
  std::vector<std::vector<absl::Status>> ends(kBlocks);
  int foreign_threads = 0;
  const std::thread::id caller = std::this_thread::get_id();
  for (int i = 0; i < kBlocks; ++i) {
    loaded.emplace_back(AlignUp(kPayloadBytes));
    batch[i] = {.block = chain[i].block(),
                .payload = loaded[i].span().first(kPayloadBytes),
                .done = [&, i](const absl::Status& status) {
                  absl::MutexLock lock(&mu);
                  ends[i].push_back(status);
                  foreign_threads += std::this_thread::get_id() != caller;
                }};
  }
  {
    absl::MutexLock lock(&mu);  // an end inside the call would never return
    tier_->StartLoads(std::move(batch));
  }
  tier_.reset();  // waits for them
  EXPECT_EQ(foreign_threads, kBlocks);
  for (int i = 0; i < kBlocks; ++i) {
    ASSERT_EQ(ends[i].size(), 1u) << i;
    EXPECT_EQ(ends[i][0].code(),
              i < kBlocks - 1 ? absl::StatusCode::kOk : absl::StatusCode::kNotFound);
    const bool right =
        std::memcmp(loaded[i].span().data(), chain[i].payload().data(), kPayloadBytes) == 0;
    EXPECT_EQ(right, i < kBlocks - 1) << i;
  }
}

TEST_P(BackingTierTest, TheEndOfALoadMayCallTheTier) {
  std::vector<SampleBlock> chain = SampleChain(1, 8, kPayloadBytes);
  ASSERT_TRUE(StoreAll(*tier_, chain).ok());
  ASSERT_GE(tier_->load_depth(kPayloadBytes), 1);
  AlignedBytes loaded(AlignUp(kPayloadBytes));
  absl::Notification all_loaded;
  // Each load starts the next one and erases its own block.
  std::function<void(size_t)> start = [&](size_t i) {
    std::vector<LoadRequest> batch(1);
    batch[0] = {.block = chain[i].block(),
                .payload = loaded.span().first(kPayloadBytes),
                .done = [&, i](const absl::Status& status) {
                  EXPECT_TRUE(status.ok()) << status;
                  EXPECT_TRUE(tier_->Erase({chain[i].block().key}).ok());
                  if (i == 0) return all_loaded.Notify();
                  start(i - 1);
                }};
    tier_->StartLoads(std::move(batch));
  };
  start(chain.size() - 1);
  all_loaded.WaitForNotification();
  EXPECT_EQ(tier_->num_blocks(), 0);
}

TEST_P(BackingTierTest, ErasedBlocksAreGoneAndTheirRoomIsBack) {
  const int64_t free_before = tier_->FreeSlots(kPayloadBytes);
  std::vector<SampleBlock> chain = SampleChain(1, 6, kPayloadBytes);
  ASSERT_TRUE(StoreAll(*tier_, chain).ok());
  EXPECT_EQ(tier_->FreeSlots(kPayloadBytes), free_before - 6);
  const BlockKey unknown = SampleBlock::KeyOf(99);
  const BlockKey twice = chain[5].block().key;
  ASSERT_TRUE(tier_->Erase({chain[4].block().key, unknown, twice, twice}).ok());
  EXPECT_EQ(LoadAndCompare(*tier_, chain[4].block()).code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(LoadAndCompare(*tier_, chain[3].block()).ok());
  EXPECT_EQ(tier_->FreeSlots(kPayloadBytes), free_before - 4);
  EXPECT_EQ(tier_->num_blocks(), 4);
}

TEST_P(BackingTierTest, FillsUpToExactlyItsCapacityAndNotBeyond) {
  const int64_t capacity = tier_->CapacitySlots(kPayloadBytes);
  ASSERT_GT(capacity, 10);
  EXPECT_EQ(tier_->FreeSlots(kPayloadBytes), capacity);
  std::vector<SampleBlock> chain = SampleChain(1, static_cast<int>(capacity), kPayloadBytes);
  ASSERT_TRUE(StoreAll(*tier_, chain).ok());
  EXPECT_EQ(tier_->FreeSlots(kPayloadBytes), 0);
  EXPECT_LE(tier_->used_bytes(), tier_->capacity_bytes());
  std::vector<SampleBlock> more = SampleChain(5000, 1, kPayloadBytes);
  EXPECT_EQ(StoreAll(*tier_, more).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(LoadAndCompare(*tier_, more[0].block()).code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(tier_->Erase({chain.back().block().key}).ok());
  EXPECT_TRUE(StoreAll(*tier_, more).ok());
  EXPECT_TRUE(LoadAndCompare(*tier_, more[0].block()).ok());
}

TEST_P(BackingTierTest, ABatchThatDoesNotFitLeavesNothingBehind) {
  const int64_t capacity = tier_->CapacitySlots(kPayloadBytes);
  std::vector<SampleBlock> chain = SampleChain(1, static_cast<int>(capacity) + 1, kPayloadBytes);
  EXPECT_EQ(StoreAll(*tier_, chain).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(tier_->num_blocks(), 0);
  EXPECT_EQ(tier_->used_bytes(), 0);
  EXPECT_EQ(tier_->FreeSlots(kPayloadBytes), capacity);
  EXPECT_TRUE(AllBlocks(*tier_).empty());
}

TEST_P(BackingTierTest, ListsBlocksInTheOrderOfStoringAlsoAfterReopening) {
  std::vector<SampleBlock> first = SampleChain(1, 3, kPayloadBytes);
  std::vector<SampleBlock> second = SampleChain(100, 3, kPayloadBytes);
  ASSERT_TRUE(StoreAll(*tier_, second).ok());
  ASSERT_TRUE(StoreAll(*tier_, first).ok());
  Reopen();
  std::vector<SampleBlock> third = SampleChain(200, 1, kPayloadBytes);
  ASSERT_TRUE(StoreAll(*tier_, third).ok());
  std::vector<const SampleBlock*> expected;
  for (const auto* part : {&second, &first, &third}) {
    for (const SampleBlock& block : *part) expected.push_back(&block);
  }
  const std::vector<StoredBlock> listed = AllBlocks(*tier_);
  ASSERT_EQ(listed.size(), expected.size());
  for (size_t i = 0; i < listed.size(); ++i) {
    EXPECT_EQ(listed[i].key, expected[i]->block().key) << i;
    EXPECT_EQ(listed[i].parent, expected[i]->block().parent) << i;
    EXPECT_EQ(listed[i].root, expected[i]->block().root) << i;
    EXPECT_EQ(listed[i].tokens, expected[i]->block().tokens) << i;
    EXPECT_EQ(listed[i].payload_bytes, kPayloadBytes) << i;
    if (i > 0) {
      EXPECT_GT(listed[i].sequence, listed[i - 1].sequence);
    }
  }
}

TEST_P(BackingTierTest, KeepsSecretNamespacesAndBlocksOverAReopening) {
  const Hash128 secret = tier_->secret();
  const BlockKey root = {1, 2};
  ASSERT_TRUE(tier_->BindNamespace(root, "identity a").ok());
  std::vector<SampleBlock> chain = SampleChain(1, 3, kPayloadBytes);
  ASSERT_TRUE(StoreAll(*tier_, chain).ok());
  const int64_t used = tier_->used_bytes();
  Reopen();
  EXPECT_EQ(tier_->secret(), secret);
  EXPECT_TRUE(tier_->BindNamespace(root, "identity a").ok());
  EXPECT_EQ(tier_->BindNamespace(root, "identity b").code(), absl::StatusCode::kFailedPrecondition);
  std::vector<std::pair<BlockKey, std::string>> bound;
  const auto note = [&](const BlockKey& key, absl::string_view encoding) {
    bound.emplace_back(key, encoding);
  };
  ASSERT_TRUE(tier_->ForEachNamespace(note).ok());
  ASSERT_EQ(bound.size(), 1u);
  EXPECT_EQ(bound[0], std::make_pair(root, std::string("identity a")));
  EXPECT_EQ(tier_->num_blocks(), 3);
  EXPECT_EQ(tier_->used_bytes(), used);
  for (const SampleBlock& block : chain) EXPECT_TRUE(LoadAndCompare(*tier_, block.block()).ok());
}

TEST_P(BackingTierTest, HasASecretOfItsOwn) {
  ScratchDirectory other(GetParam().parent_directory);
  auto second = OpenDiskTier({.directory = other.path(), .capacity_bytes = kCapacityBytes});
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_NE((*second)->secret(), tier_->secret());
}

TEST_P(BackingTierTest, RefusesAKeyThatIsStoredAlready) {
  std::vector<SampleBlock> chain = SampleChain(1, 2, kPayloadBytes);
  ASSERT_TRUE(StoreAll(*tier_, chain).ok());
  EXPECT_EQ(StoreAll(*tier_, chain).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(tier_->num_blocks(), 2);
  EXPECT_TRUE(LoadAndCompare(*tier_, chain[1].block()).ok());
}

TEST_P(BackingTierTest, ServesLoadsWhileOthersStoreAndErase) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 25;
  std::vector<SampleBlock> kept = SampleChain(1, 8, kPayloadBytes);
  ASSERT_TRUE(StoreAll(*tier_, kept).ok());
  std::vector<std::thread> threads;
  std::vector<int> good_loads(kThreads, 0);
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < kRounds; ++round) {
        std::vector<SampleBlock> mine =
            SampleChain(10000 * (t + 1) + 10 * round, 3, kPayloadBytes + 4096 * (t % 2));
        EXPECT_TRUE(StoreAll(*tier_, mine).ok());
        for (const SampleBlock& block : mine) {
          const absl::Status loaded = LoadAndCompare(*tier_, block.block());
          EXPECT_TRUE(loaded.ok()) << loaded;
        }
        if (LoadAndCompare(*tier_, kept[round % kept.size()].block()).ok()) ++good_loads[t];
        EXPECT_TRUE(
            tier_->Erase({mine[2].block().key, mine[1].block().key, mine[0].block().key}).ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(good_loads, testing::Each(kRounds));
  EXPECT_EQ(tier_->num_blocks(), 8);
}

INSTANTIATE_TEST_SUITE_P(Tiers, BackingTierTest,
                         testing::Values(Implementation{"DiskTier", testing::TempDir()},
                                         Implementation{"DiskTierInMemory", "/dev/shm"}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace reprise::cachestore
