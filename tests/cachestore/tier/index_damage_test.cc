// What DiskTier makes of an index whose bytes are damaged.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cachestore/tier/disk_tier.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "rocksdb/db.h"
#include "tests/cachestore/tier/block_samples.h"

namespace reprise::cachestore {
namespace {

constexpr int64_t kCapacityBytes = int64_t{4} << 20;
constexpr uint64_t kPayloadBytes = 8192;

class IndexDamageTest : public testing::Test {
 protected:
  // A tier whose records lie in a table of the index: RocksDB moves its log there when it opens.
  IndexDamageTest() : chain_(SampleChain(1, 20, kPayloadBytes)) {
    Open();
    CHECK(StoreAll(*tier_, chain_).ok());
    Open();
  }

  void Open() {
    tier_.reset();
    auto tier = OpenDiskTier({.directory = directory_.path(), .capacity_bytes = kCapacityBytes});
    ASSERT_TRUE(tier.ok()) << tier.status();
    tier_ = *std::move(tier);
  }

  // Flips a bit in the first bytes of every table, which are its records.
  int DamageTables() {
    int num_tables = 0;
    for (const auto& entry : std::filesystem::directory_iterator(directory_.path() + "/index")) {
      if (entry.path().extension() != ".sst") continue;
      ++num_tables;
      const int fd = open(entry.path().c_str(), O_RDWR);
      char byte = 0;
      CHECK(pread(fd, &byte, 1, 30) == 1);
      byte ^= 1;
      CHECK(pwrite(fd, &byte, 1, 30) == 1);
      close(fd);
    }
    return num_tables;
  }

  ScratchDirectory directory_;
  std::vector<SampleBlock> chain_;
  std::unique_ptr<BackingTier> tier_;
};

TEST_F(IndexDamageTest, ADamagedIndexIsSetAsideAndTheTierStartsEmpty) {
  const Hash128 secret = tier_->secret();
  tier_.reset();
  ASSERT_GT(DamageTables(), 0);
  Open();
  ASSERT_EQ(tier_->losses().size(), 1u);
  EXPECT_THAT(tier_->losses()[0],
              testing::AllOf(testing::HasSubstr(directory_.path()),
                             testing::HasSubstr("index.corrupt-1"), testing::HasSubstr("orrupt")));
  EXPECT_EQ(tier_->num_blocks(), 0);
  EXPECT_NE(tier_->secret(), secret);
  EXPECT_EQ(PayloadFileBytes(directory_.path()), 0);
  EXPECT_TRUE(std::filesystem::exists(directory_.path() + "/index.corrupt-1/CURRENT"));
  std::ifstream reason(directory_.path() + "/index.corrupt-1/REASON");
  std::string line;
  EXPECT_TRUE(std::getline(reason, line));
  EXPECT_THAT(tier_->losses()[0], testing::HasSubstr(line));
  ASSERT_TRUE(StoreAll(*tier_, chain_).ok());
  Open();
  EXPECT_TRUE(tier_->losses().empty());
  EXPECT_EQ(tier_->num_blocks(), 20);
  // A second one does not replace the first.
  tier_.reset();
  DamageTables();
  Open();
  EXPECT_TRUE(std::filesystem::exists(directory_.path() + "/index.corrupt-2/CURRENT"));
}

TEST_F(IndexDamageTest, ARecordThatCannotBeReadIsAMissAndCanBeErasedAndStoredAgain) {
  const int64_t free_before = tier_->FreeSlots(kPayloadBytes);
  ASSERT_GT(DamageTables(), 0);
  const StoredBlock& block = chain_[3].block();
  EXPECT_EQ(LoadAndCompare(*tier_, block).code(), absl::StatusCode::kDataLoss);
  const absl::Status erased = tier_->Erase({block.key});
  EXPECT_TRUE(erased.ok()) << erased;
  EXPECT_EQ(tier_->num_blocks(), 19);
  EXPECT_EQ(tier_->FreeSlots(kPayloadBytes), free_before) << "nobody knows which slot it has";
  EXPECT_EQ(LoadAndCompare(*tier_, block).code(), absl::StatusCode::kNotFound);
  const absl::Status stored = tier_->Store({chain_[3].to_store()});
  EXPECT_TRUE(stored.ok()) << stored;
  EXPECT_TRUE(LoadAndCompare(*tier_, block).ok());
  EXPECT_EQ(tier_->num_blocks(), 20);
}

// Changes what was saved as `name` behind the tier's back, which is closed.
void ChangeState(const std::string& directory, const std::string& name,
                 const std::function<void(std::string&)>& change) {
  std::vector<rocksdb::ColumnFamilyHandle*> families;
  rocksdb::DB* opened = nullptr;
  const rocksdb::ColumnFamilyOptions options;
  CHECK(rocksdb::DB::Open(
            rocksdb::DBOptions(), directory + "/index",
            {{"default", options}, {"meta", options}, {"namespaces", options}, {"blocks", options}},
            &families, &opened)
            .ok());
  const std::unique_ptr<rocksdb::DB> db(opened);
  std::string value;
  CHECK(db->Get(rocksdb::ReadOptions(), families[1], "state." + name, &value).ok());
  change(value);
  CHECK(db->Put(rocksdb::WriteOptions(), families[1], "state." + name, value).ok());
  for (rocksdb::ColumnFamilyHandle* family : families) {
    CHECK(db->DestroyColumnFamilyHandle(family).ok());
  }
}

TEST_F(IndexDamageTest, AStateThatIsNotWhatWasSavedIsDataLoss) {
  const std::function<void(std::string&)> changes[] = {
      [](std::string& value) { value[0] = 2; },       // the version
      [](std::string& value) { value[4] ^= 1; },      // the checksum
      [](std::string& value) { value.back() ^= 1; },  // the bytes
      [](std::string& value) { value.pop_back(); },   // one is missing
      [](std::string& value) { value.resize(11); }};  // so are all, and a part of the header
  for (const auto& change : changes) {
    ASSERT_TRUE(tier_->SaveState("model", "learned").ok());
    tier_.reset();
    ChangeState(directory_.path(), "model", change);
    Open();
    EXPECT_EQ(tier_->LoadState("model").status().code(), absl::StatusCode::kDataLoss);
    EXPECT_EQ(tier_->num_blocks(), 20) << "and the blocks are there";
  }
}

}  // namespace
}  // namespace reprise::cachestore
