// DiskTier with file operations that fail: whatever fails, the tier holds exactly what it
// acknowledged.
#include <unistd.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cachestore/tier/disk_tier.h"
#include "gtest/gtest.h"
#include "tests/cachestore/tier/block_samples.h"
#include "tests/cachestore/tier/faulty_block_files.h"

namespace reprise::cachestore {
namespace {

constexpr int64_t kCapacityBytes = int64_t{256} << 10;  // segments of 32 KiB
constexpr uint64_t kSmallBytes = 3000, kLargeBytes = 20000;

// Runs a fixed script of stores, erases and loads and remembers what was acknowledged.
class Script {
 public:
  explicit Script(BackingTier& tier) : tier_(tier) {}

  // Blocks that the tier has said it holds.
  const std::map<BlockKey, StoredBlock>& acknowledged() const { return acknowledged_; }
  int num_failed_stores() const { return num_failed_stores_; }
  int num_failed_loads() const { return num_failed_loads_; }

  void Run() {
    Store(1, 6, kSmallBytes);
    Store(20, 3, kLargeBytes);
    Load();
    Erase({2, 3, 5, 21});
    Store(40, 5, kSmallBytes);
    Load();
    Erase({1, 4, 6, 40, 41, 42, 43, 44, 20, 22});  // everything: its files can give way
    Store(60, 10, kLargeBytes);
    Store(80, 2, 100000);  // does not fit beside the others
    Erase({60, 61, 62, 63, 64, 65, 66, 67, 68, 69});
    Store(90, 2, 100000);
    Load();
  }

 private:
  void Store(uint64_t first_seed, int count, uint64_t payload_bytes) {
    std::vector<SampleBlock> blocks = SampleChain(first_seed, count, payload_bytes);
    if (!StoreAll(tier_, blocks).ok()) {
      ++num_failed_stores_;
      return;
    }
    for (const SampleBlock& block : blocks) acknowledged_[block.block().key] = block.block();
  }

  void Erase(const std::vector<uint64_t>& seeds) {
    std::vector<BlockKey> keys;
    for (uint64_t seed : seeds) keys.push_back(SampleBlock::KeyOf(seed));
    const absl::Status erased = tier_.Erase(keys);
    EXPECT_TRUE(erased.ok()) << erased;  // no file operation is part of it
    for (const BlockKey& key : keys) acknowledged_.erase(key);
  }

  void Load() {
    for (const auto& [key, block] : acknowledged_) {
      const absl::Status loaded = LoadAndCompare(tier_, block);
      EXPECT_NE(loaded.message(), "wrong bytes");
      num_failed_loads_ += !loaded.ok();
    }
  }

  BackingTier& tier_;
  std::map<BlockKey, StoredBlock> acknowledged_;
  int num_failed_stores_ = 0;
  int num_failed_loads_ = 0;
};

void ExpectExactly(BackingTier& tier, const std::map<BlockKey, StoredBlock>& expected) {
  std::set<BlockKey> listed;
  for (const StoredBlock& block : AllBlocks(tier)) {
    EXPECT_TRUE(expected.contains(block.key)) << "never acknowledged";
    listed.insert(block.key);
    const absl::Status loaded = LoadAndCompare(tier, block);
    EXPECT_TRUE(loaded.ok()) << loaded;
  }
  EXPECT_EQ(listed.size(), expected.size());
  EXPECT_EQ(tier.num_blocks(), static_cast<int64_t>(expected.size()));
}

struct FaultCase {
  std::string name;
  Fault fault;
  int step;  // 1: every operation fails once; n: every n-th
};

class DiskTierFaultTest : public testing::TestWithParam<FaultCase> {};

TEST_P(DiskTierFaultTest, EveryFailingOperationLeavesExactlyTheAcknowledgedBlocks) {
  int num_failed_opens = 0, num_failed_stores = 0, num_failed_loads = 0;
  int n = 1;
  for (;; n += GetParam().step) {
    ASSERT_LT(n, 500);
    SCOPED_TRACE(absl::StrCat("operation ", n, " fails"));
    // In memory where possible: hundreds of tiers are opened.
    ScratchDirectory directory(access("/dev/shm", W_OK) == 0 ? "/dev/shm" : testing::TempDir());
    const DiskTierOptions options = {.directory = directory.path(),
                                     .capacity_bytes = kCapacityBytes};
    auto files = std::make_shared<FaultyBlockFiles>(n, GetParam().fault);
    std::map<BlockKey, StoredBlock> acknowledged;
    int failed_here = 0;
    {
      auto tier = OpenDiskTier(options, files);
      if (tier.ok()) {
        Script script(**tier);
        script.Run();
        acknowledged = script.acknowledged();
        files->Heal();
        ExpectExactly(**tier, acknowledged);
        num_failed_stores += script.num_failed_stores();
        num_failed_loads += script.num_failed_loads();
        failed_here = script.num_failed_stores() + script.num_failed_loads();
      } else {
        ++num_failed_opens;
        failed_here = 1;
      }
    }
    EXPECT_LE(PayloadFileBytes(directory.path()), kCapacityBytes);
    auto reopened = OpenDiskTier(options);
    ASSERT_TRUE(reopened.ok()) << reopened.status();
    ExpectExactly(**reopened, acknowledged);
    // The whole budget is of use again.
    std::vector<BlockKey> keys;
    for (const auto& [key, block] : acknowledged) keys.push_back(key);
    ASSERT_TRUE((*reopened)->Erase(keys).ok());
    EXPECT_EQ((*reopened)->FreeSlots(kSmallBytes), (*reopened)->CapacitySlots(kSmallBytes));
    if (!files->fired()) {
      EXPECT_EQ(failed_here, 1) << "only the store that never fits";
      break;
    }
  }
  EXPECT_GT(n, 40);
  EXPECT_GT(num_failed_opens, 0);
  EXPECT_GT(num_failed_stores, 20 / GetParam().step);
  EXPECT_GT(num_failed_loads, 5 / GetParam().step);
}

INSTANTIATE_TEST_SUITE_P(Faults, DiskTierFaultTest,
                         testing::Values(FaultCase{"IoError", Fault::kIoError, 1},
                                         FaultCase{"NoSpace", Fault::kNoSpace, 4},
                                         FaultCase{"ShortRead", Fault::kShortRead, 4}),
                         [](const auto& info) { return info.param.name; });

TEST(DiskTierFullTest, AFullFileSystemRefusesTheStoreAndTheTierLivesOnWithWhatItHas) {
  ScratchDirectory directory;
  // List, create, write, sync, then the second create.
  auto files = std::make_shared<FaultyBlockFiles>(5, Fault::kNoSpace);
  auto tier =
      OpenDiskTier({.directory = directory.path(), .capacity_bytes = kCapacityBytes}, files);
  ASSERT_TRUE(tier.ok()) << tier.status();
  std::vector<SampleBlock> first = SampleChain(1, 4, kSmallBytes);  // fills a file
  std::vector<SampleBlock> second = SampleChain(10, 2, kSmallBytes);
  ASSERT_TRUE(StoreAll(**tier, first).ok());
  const absl::Status refused = StoreAll(**tier, second);
  ASSERT_TRUE(files->fired());
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted) << refused;
  EXPECT_EQ((*tier)->FreeSlots(kSmallBytes), 0) << "erase, instead of waiting for room";
  EXPECT_EQ((*tier)->num_blocks(), 4);
  EXPECT_TRUE(LoadAndCompare(**tier, first[3].block()).ok());
  ASSERT_TRUE((*tier)->Erase({first[3].block().key, first[2].block().key}).ok());
  EXPECT_EQ((*tier)->FreeSlots(kSmallBytes), 2);
  EXPECT_TRUE(StoreAll(**tier, second).ok());
  EXPECT_TRUE(LoadAndCompare(**tier, second[1].block()).ok());
}

}  // namespace
}  // namespace reprise::cachestore
