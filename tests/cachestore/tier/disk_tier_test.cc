#include "cachestore/tier/disk_tier.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cachestore/tier/block_samples.h"

namespace reprise::cachestore {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr int64_t kMiB = int64_t{1} << 20;

std::unique_ptr<BackingTier> OpenTier(const std::string& directory, int64_t capacity_bytes) {
  auto tier = OpenDiskTier({.directory = directory, .capacity_bytes = capacity_bytes});
  EXPECT_TRUE(tier.ok()) << tier.status();
  return tier.ok() ? *std::move(tier) : nullptr;
}

absl::Status OpenError(const std::string& directory, int64_t capacity_bytes) {
  return OpenDiskTier({.directory = directory, .capacity_bytes = capacity_bytes}).status();
}

void WriteText(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::trunc) << text;
}

TEST(DiskTierTest, RoundTripsPayloadsOfEverySize) {
  ScratchDirectory directory;
  const std::vector<uint64_t> sizes = {1, 4095, 4096, 4097, 12345, 65536, 100001, 2 * kMiB + 5};
  std::vector<SampleBlock> blocks;
  {
    std::unique_ptr<BackingTier> tier = OpenTier(directory.path(), 32 * kMiB);
    for (size_t i = 0; i < sizes.size(); ++i) {
      blocks.emplace_back(i, sizes[i], BlockKey{MixBits(77), 78});
    }
    ASSERT_TRUE(StoreAll(*tier, blocks).ok());
    for (const SampleBlock& block : blocks) {
      const absl::Status loaded = LoadAndCompare(*tier, block.block());
      EXPECT_TRUE(loaded.ok()) << loaded;
    }
  }
  std::unique_ptr<BackingTier> tier = OpenTier(directory.path(), 32 * kMiB);
  EXPECT_EQ(tier->num_blocks(), static_cast<int64_t>(sizes.size()));
  for (const SampleBlock& block : blocks) {
    const absl::Status loaded = LoadAndCompare(*tier, block.block());
    EXPECT_TRUE(loaded.ok()) << loaded;
  }
}

TEST(DiskTierTest, BlocksOfOneBatchLieSideBySide) {
  ScratchDirectory directory;
  std::unique_ptr<BackingTier> tier = OpenTier(directory.path(), 16 * kMiB);
  std::vector<SampleBlock> chain = SampleChain(1, 8, 8192);
  ASSERT_TRUE(StoreAll(*tier, chain).ok());
  const std::vector<fs::path> files = PayloadFiles(directory.path());
  ASSERT_EQ(files.size(), 1u);
  std::ifstream file(files[0], std::ios::binary);
  for (SampleBlock& block : chain) {
    std::string slot(4096 + 8192, '\0');
    ASSERT_TRUE(file.read(slot.data(), static_cast<std::streamsize>(slot.size())));
    EXPECT_EQ(std::memcmp(slot.data() + 4096, block.payload().data(), 8192), 0);
  }
}

TEST(DiskTierTest, ReservesTheBytesOfItsFilesWhenItCreatesThem) {
  ScratchDirectory directory;
  std::unique_ptr<BackingTier> tier = OpenTier(directory.path(), 16 * kMiB);
  std::vector<SampleBlock> chain = SampleChain(1, 1, 8192);
  ASSERT_TRUE(StoreAll(*tier, chain).ok());
  for (const fs::path& path : PayloadFiles(directory.path())) {
    struct stat info;
    ASSERT_EQ(stat(path.c_str(), &info), 0);
    EXPECT_GT(info.st_size, kMiB);
    EXPECT_GE(info.st_blocks * 512, info.st_size);
  }
}

TEST(DiskTierTest, GoesPastTheKernelsCacheWhereTheFileSystemAllowsIt) {
  ScratchDirectory directory;
  const std::string probe = directory.path() + "/probe";
  const int fd = open(probe.c_str(), O_CREAT | O_RDWR | O_DIRECT, 0600);
  if (fd < 0) GTEST_SKIP() << "O_DIRECT is not supported here";
  close(fd);
  fs::remove(probe);
  std::unique_ptr<BackingTier> tier = OpenTier(directory.path(), 16 * kMiB);
  std::vector<SampleBlock> chain = SampleChain(1, 1, 8192);
  ASSERT_TRUE(StoreAll(*tier, chain).ok());
  int num_payload_files = 0;
  for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
    std::error_code error;
    const std::string target = fs::read_symlink(entry.path(), error).string();
    if (!absl::StrContains(target, "slots-")) continue;
    ++num_payload_files;
    EXPECT_NE(fcntl(std::stoi(entry.path().filename()), F_GETFL) & O_DIRECT, 0) << target;
  }
  EXPECT_GT(num_payload_files, 0);
}

TEST(DiskTierTest, KeepsToTheByteBudgetAlsoWithAnotherOneAfterReopening) {
  ScratchDirectory directory;
  constexpr uint64_t kPayloadBytes = 30000;
  std::vector<SampleBlock> stored;
  int64_t recovered = 0;
  uint64_t seed = 1;
  for (const int64_t capacity : {8 * kMiB + 4097, 3 * kMiB + 1, 20 * kMiB, 64 * int64_t{1024}}) {
    std::unique_ptr<BackingTier> tier = OpenTier(directory.path(), capacity);
    EXPECT_LE(PayloadFileBytes(directory.path()), capacity);
    EXPECT_LE(tier->used_bytes(), capacity);
    for (const StoredBlock& block : AllBlocks(*tier)) {
      const absl::Status loaded = LoadAndCompare(*tier, block);
      EXPECT_TRUE(loaded.ok()) << loaded;
      ++recovered;
    }
    const int64_t free_slots = tier->FreeSlots(kPayloadBytes);
    for (int64_t i = 0; i < free_slots; ++i) {
      std::vector<SampleBlock> one = SampleChain(seed++, 1, kPayloadBytes);
      ASSERT_TRUE(StoreAll(*tier, one).ok());
      EXPECT_LE(PayloadFileBytes(directory.path()), capacity);
    }
    EXPECT_EQ(tier->FreeSlots(kPayloadBytes), 0);
    std::vector<SampleBlock> one_more = SampleChain(900000, 1, kPayloadBytes);
    EXPECT_EQ(StoreAll(*tier, one_more).code(), absl::StatusCode::kResourceExhausted);
    EXPECT_LE(PayloadFileBytes(directory.path()), capacity);
    // The budget is used, too: what is left over is less than a slot.
    EXPECT_GT(PayloadFileBytes(directory.path()) + static_cast<int64_t>(kPayloadBytes) + 8192,
              capacity);
  }
  EXPECT_GT(recovered, 50);
}

TEST(DiskTierTest, ASmallerBudgetKeepsTheBlocksThatWereStoredFirst) {
  ScratchDirectory directory;
  std::vector<SampleBlock> chain = SampleChain(1, 100, 28 * 1024);
  {
    std::unique_ptr<BackingTier> tier = OpenTier(directory.path(), 4 * kMiB);
    ASSERT_TRUE(StoreAll(*tier, chain).ok());
  }
  std::unique_ptr<BackingTier> tier = OpenTier(directory.path(), 2 * kMiB);
  const std::vector<StoredBlock> kept = AllBlocks(*tier);
  ASSERT_GT(kept.size(), 30u);
  ASSERT_LT(kept.size(), 100u);
  EXPECT_EQ(tier->num_blocks(), static_cast<int64_t>(kept.size()));
  for (size_t i = 0; i < kept.size(); ++i) {
    EXPECT_EQ(kept[i].key, chain[i].block().key);
    EXPECT_TRUE(LoadAndCompare(*tier, kept[i]).ok());
  }
  EXPECT_EQ(LoadAndCompare(*tier, chain.back().block()).code(), absl::StatusCode::kNotFound);
}

TEST(DiskTierTest, TwoSlotSizesShareOneBudget) {
  ScratchDirectory directory;
  constexpr int64_t kCapacity = 4 * kMiB;
  constexpr uint64_t kSmall = 12 * 1024, kLarge = 124 * 1024;
  std::unique_ptr<BackingTier> tier = OpenTier(directory.path(), kCapacity);
  const int64_t all_small = tier->CapacitySlots(kSmall), all_large = tier->CapacitySlots(kLarge);
  std::vector<SampleBlock> small = SampleChain(1, static_cast<int>(all_small), kSmall);
  ASSERT_TRUE(StoreAll(*tier, small).ok());
  EXPECT_EQ(tier->FreeSlots(kLarge), 0);
  // Every other small block goes: files are half empty, and none of them gives way.
  std::vector<BlockKey> odd, even;
  for (size_t i = 0; i < small.size(); ++i) {
    (i % 2 ? odd : even).push_back(small[i].block().key);
  }
  ASSERT_TRUE(tier->Erase(odd).ok());
  EXPECT_EQ(tier->FreeSlots(kLarge), 0);
  EXPECT_EQ(tier->FreeSlots(kSmall), static_cast<int64_t>(odd.size()));
  // The rest goes: all bytes serve the other size.
  ASSERT_TRUE(tier->Erase(even).ok());
  EXPECT_EQ(tier->FreeSlots(kLarge), all_large);
  std::vector<SampleBlock> large = SampleChain(5000, static_cast<int>(all_large), kLarge);
  for (SampleBlock& block : large) {
    ASSERT_TRUE(tier->Store({block.to_store()}).ok());
    EXPECT_LE(PayloadFileBytes(directory.path()), kCapacity);
  }
  for (const SampleBlock& block : large) EXPECT_TRUE(LoadAndCompare(*tier, block.block()).ok());
  EXPECT_EQ(tier->FreeSlots(kLarge), 0);
  EXPECT_EQ(tier->FreeSlots(kSmall), (kCapacity - PayloadFileBytes(directory.path())) / 16384);
}

TEST(DiskTierTest, OneBatchMayMixSlotSizes) {
  ScratchDirectory directory;
  std::unique_ptr<BackingTier> tier = OpenTier(directory.path(), 4 * kMiB);
  std::vector<SampleBlock> blocks;
  for (int i = 0; i < 20; ++i) blocks.emplace_back(i, i % 3 ? 5000 : 50000, BlockKey{1, 1});
  ASSERT_TRUE(StoreAll(*tier, blocks).ok());
  for (const SampleBlock& block : blocks) EXPECT_TRUE(LoadAndCompare(*tier, block.block()).ok());
}

TEST(DiskTierTest, RemovesPayloadFilesThatNoRecordNames) {
  ScratchDirectory directory;
  std::vector<SampleBlock> chain = SampleChain(1, 2, 8192);
  {
    std::unique_ptr<BackingTier> tier = OpenTier(directory.path(), 4 * kMiB);
    ASSERT_TRUE(StoreAll(*tier, chain).ok());
  }
  const fs::path orphan = directory.path() + "/slots-000777.dat";
  WriteText(orphan, std::string(8192, 'x'));
  const fs::path foreign = directory.path() + "/notes.txt";
  WriteText(foreign, "mine");
  std::unique_ptr<BackingTier> tier = OpenTier(directory.path(), 4 * kMiB);
  EXPECT_FALSE(fs::exists(orphan));
  EXPECT_TRUE(fs::exists(foreign));
  EXPECT_TRUE(LoadAndCompare(*tier, chain[0].block()).ok());
  EXPECT_TRUE(LoadAndCompare(*tier, chain[1].block()).ok());
}

TEST(DiskTierTest, DropsRecordsThatPointBehindTheEndOfTheirFile) {
  ScratchDirectory directory;
  std::vector<SampleBlock> chain = SampleChain(1, 6, 8192);
  {
    std::unique_ptr<BackingTier> tier = OpenTier(directory.path(), 4 * kMiB);
    ASSERT_TRUE(StoreAll(*tier, chain).ok());
  }
  const std::vector<fs::path> files = PayloadFiles(directory.path());
  ASSERT_EQ(files.size(), 1u);
  fs::resize_file(files[0], 4 * 12288 + 100);
  for (int reopening = 0; reopening < 2; ++reopening) {
    std::unique_ptr<BackingTier> tier = OpenTier(directory.path(), 4 * kMiB);
    EXPECT_EQ(tier->num_blocks(), 4);
    EXPECT_TRUE(LoadAndCompare(*tier, chain[3].block()).ok());
    EXPECT_EQ(LoadAndCompare(*tier, chain[4].block()).code(), absl::StatusCode::kNotFound);
  }
}

TEST(DiskTierTest, LosesTheBlocksOfADeletedFileAndNoOthers) {
  ScratchDirectory directory;
  std::vector<SampleBlock> small = SampleChain(1, 2, 8192), large = SampleChain(50, 2, 100000);
  {
    std::unique_ptr<BackingTier> tier = OpenTier(directory.path(), 4 * kMiB);
    ASSERT_TRUE(StoreAll(*tier, small).ok());
    ASSERT_TRUE(StoreAll(*tier, large).ok());
  }
  ASSERT_TRUE(fs::remove(directory.path() + "/slots-000001.dat"));
  std::unique_ptr<BackingTier> tier = OpenTier(directory.path(), 4 * kMiB);
  EXPECT_EQ(tier->num_blocks(), 2);
  EXPECT_EQ(LoadAndCompare(*tier, small[0].block()).code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(LoadAndCompare(*tier, large[1].block()).ok());
  EXPECT_TRUE(StoreAll(*tier, small).ok());
}

TEST(DiskTierTest, ADamagedIndexIsAnErrorThatNamesIt) {
  ScratchDirectory directory;
  OpenTier(directory.path(), 4 * kMiB).reset();
  WriteText(directory.path() + "/index/CURRENT", "MANIFEST-999999\n");
  const absl::Status refused = OpenError(directory.path(), 4 * kMiB);
  EXPECT_FALSE(refused.ok());
  EXPECT_THAT(std::string(refused.message()), HasSubstr(directory.path() + "/index"));
}

TEST(DiskTierTest, ImpossibleBudgetsAreRefusedWithTheirValues) {
  ScratchDirectory directory;
  const absl::Status small = OpenError(directory.path(), 8191);
  EXPECT_EQ(small.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(small.message()), testing::AllOf(HasSubstr("8191"), HasSubstr("8192")));
  const absl::Status large = OpenError(directory.path(), int64_t{1} << 60);
  EXPECT_EQ(large.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(large.message()), HasSubstr("1152921504606846976"));
  EXPECT_EQ(OpenError("", 4 * kMiB).code(), absl::StatusCode::kInvalidArgument);
}

// Files of this process may not grow beyond `bytes` while this lives, as on a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : old_handler_(signal(SIGXFSZ, SIG_IGN)) {
    CHECK(getrlimit(RLIMIT_FSIZE, &old_) == 0);
    const rlimit limited = {bytes, old_.rlim_max};
    CHECK(setrlimit(RLIMIT_FSIZE, &limited) == 0);
  }
  ~FileSizeLimit() {
    CHECK(setrlimit(RLIMIT_FSIZE, &old_) == 0);
    signal(SIGXFSZ, old_handler_);
  }

 private:
  rlimit old_;
  void (*old_handler_)(int);
};

TEST(DiskTierTest, AFailedIndexWriteMakesNothingVisibleAndLosesNothing) {
  ScratchDirectory directory;
  std::vector<SampleBlock> acknowledged, refused;
  {
    std::unique_ptr<BackingTier> tier = OpenTier(directory.path(), kMiB);
    {
      FileSizeLimit limit(kMiB / 2);
      // Payload files stay far below the limit; many tokens make the index's log reach it, long
      // before it is full and another begins.
      for (uint64_t seed = 1; refused.size() < 2 && seed < 40; ++seed) {
        SampleBlock block(seed, 8192, BlockKey{1, 1});
        block.block().tokens.assign(20000, static_cast<TokenId>(seed));
        const absl::Status stored = tier->Store({block.to_store()});
        (stored.ok() ? acknowledged : refused).push_back(std::move(block));
      }
    }
    ASSERT_GT(acknowledged.size(), 3u);
    ASSERT_EQ(refused.size(), 2u);
    for (SampleBlock& block : refused) {
      EXPECT_EQ(LoadAndCompare(*tier, block.block()).code(), absl::StatusCode::kNotFound);
    }
    EXPECT_EQ(tier->num_blocks(), static_cast<int64_t>(acknowledged.size()));
    for (SampleBlock& block : acknowledged) {
      EXPECT_TRUE(LoadAndCompare(*tier, block.block()).ok());
    }
  }
  std::unique_ptr<BackingTier> tier = OpenTier(directory.path(), kMiB);
  EXPECT_GE(tier->num_blocks(), static_cast<int64_t>(acknowledged.size()));
  for (SampleBlock& block : acknowledged) {
    EXPECT_TRUE(LoadAndCompare(*tier, block.block()).ok());
  }
}

}  // namespace
}  // namespace reprise::cachestore
