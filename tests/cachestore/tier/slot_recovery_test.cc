#include "cachestore/tier/slot_recovery.h"

#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/cachestore/tier/block_samples.h"

namespace reprise::cachestore {
namespace {

constexpr uint64_t kPayloadBytes = 8192;
constexpr uint64_t kSlot = 4096 + kPayloadBytes;

class SlotRecoveryTest : public testing::Test {
 protected:
  SlotRecoveryTest() : files_(MakePosixBlockFileSystem()) {
    auto catalog = BlockCatalog::Open(directory_.path() + "/index");
    CHECK(catalog.ok());
    catalog_ = *std::move(catalog);
  }

  void CreateFile(uint32_t id, int num_slots) {
    ASSERT_TRUE(files_->Create(directory_.path() + "/" + SlotFileName(id), num_slots * kSlot).ok());
  }
  void Put(uint64_t seed, SlotAddress address, uint64_t payload_bytes = kPayloadBytes) {
    const std::vector<TokenId> tokens = {1, 2, 3};
    const BlockCatalog::Entry entry = {
        .key = SampleBlock::KeyOf(seed),
        .record = {.payload_bytes = payload_bytes, .sequence = seed, .address = address},
        .tokens = tokens};
    ASSERT_TRUE(catalog_->Put({entry}).ok());
  }
  RecoveredSlots Recover(int64_t capacity_bytes) {
    auto recovered = RecoverSlots(*catalog_, *files_, directory_.path(), capacity_bytes);
    EXPECT_TRUE(recovered.ok()) << recovered.status();
    return *std::move(recovered);
  }
  bool IsInIndex(uint64_t seed) { return catalog_->Find(SampleBlock::KeyOf(seed))->has_value(); }

  ScratchDirectory directory_;
  std::unique_ptr<BlockFileSystem> files_;
  std::unique_ptr<BlockCatalog> catalog_;
};

TEST_F(SlotRecoveryTest, AForeignFileWithTheGreatestIdLeavesIdsToGive) {
  CreateFile(3, 4);
  CreateFile(4294967295, 4);
  Put(10, {3, 0});
  EXPECT_EQ(Recover(100 * kSlot).last_file_id, 3u) << "the next one would be 0, then 1, 2, 3 again";
  EXPECT_EQ(files_->List(directory_.path())->size(), 1u);
}

TEST_F(SlotRecoveryTest, FindsFilesSlotsAndCounters) {
  CreateFile(1, 4);
  CreateFile(7, 4);
  Put(10, {1, 0});
  Put(11, {1, 3});
  Put(12, {7, 1});
  RecoveredSlots recovered = Recover(100 * kSlot);
  EXPECT_EQ(recovered.num_blocks, 3);
  EXPECT_EQ(recovered.used_bytes, static_cast<int64_t>(3 * kSlot));
  EXPECT_EQ(recovered.next_sequence, 13u);
  EXPECT_EQ(recovered.last_file_id, 7u);
  ASSERT_EQ(recovered.files.size(), 2u);
  EXPECT_EQ(recovered.files.at(1).slots.num_free(), 2u);
  EXPECT_TRUE(recovered.files.at(1).slots.used(3));
  EXPECT_TRUE(recovered.files.at(7).slots.used(1));
}

TEST_F(SlotRecoveryTest, DropsAllRecordsThatNameTheSameSlot) {
  CreateFile(1, 8);
  Put(10, {1, 0});
  for (uint64_t seed : {20, 21, 22}) Put(seed, {1, 5});
  Put(30, {1, 6});
  Put(31, {1, 6});
  RecoveredSlots recovered = Recover(100 * kSlot);
  EXPECT_EQ(recovered.num_blocks, 1);
  EXPECT_EQ(recovered.files.at(1).slots.num_free(), 7u);
  EXPECT_FALSE(recovered.files.at(1).slots.used(5));
  for (uint64_t seed : {20, 21, 22, 30, 31}) EXPECT_FALSE(IsInIndex(seed)) << seed;
  EXPECT_TRUE(IsInIndex(10));
}

TEST_F(SlotRecoveryTest, DropsRecordsOfMissingFilesAndOfOtherSlotSizes) {
  CreateFile(1, 8);
  for (uint64_t seed = 1; seed <= 3; ++seed) Put(seed, {1, static_cast<uint32_t>(seed)});
  Put(20, {1, 8});
  Put(21, {9, 0});
  RecoveredSlots recovered = Recover(100 * kSlot);
  EXPECT_EQ(recovered.num_blocks, 3);
  EXPECT_FALSE(IsInIndex(20));
  EXPECT_FALSE(IsInIndex(21));
  EXPECT_EQ(recovered.last_file_id, 9u) << "an id that was used is not used again";
}

TEST_F(SlotRecoveryTest, DropsRecordsWithValuesThatCannotBe) {
  CreateFile(1, 8);
  Put(1, {1, 0});
  Put(2, {1, 1}, ~uint64_t{0} - 4095);  // a slot of it would have no bytes
  Put(3, {1, 2}, ~uint64_t{0});
  Put(4, {0xffffffff, 0});  // there is no file id after it
  RecoveredSlots recovered = Recover(100 * kSlot);
  EXPECT_EQ(recovered.num_blocks, 1);
  EXPECT_EQ(recovered.last_file_id, 1u);
  for (uint64_t seed : {2, 3, 4}) EXPECT_FALSE(IsInIndex(seed)) << seed;
  EXPECT_TRUE(IsInIndex(1));
}

TEST_F(SlotRecoveryTest, HandsOnTheRecordsOnlyWhileAllAreStillStored) {
  CreateFile(1, 8);
  Put(10, {1, 0});
  Put(11, {1, 1});
  EXPECT_NE(Recover(100 * kSlot).records, nullptr);
  Put(12, {9, 0});
  EXPECT_EQ(Recover(100 * kSlot).records, nullptr) << "one record was dropped";
  EXPECT_NE(Recover(100 * kSlot).records, nullptr);
  Put(13, {1, 1});
  EXPECT_EQ(Recover(100 * kSlot).records, nullptr) << "two records named one slot";
}

TEST_F(SlotRecoveryTest, DropsTheYoungestFilesWhenTheBudgetIsTooSmall) {
  for (uint32_t id : {1u, 2u, 3u}) CreateFile(id, 4);
  Put(10, {2, 0});
  Put(11, {1, 0});
  Put(12, {3, 0});
  Put(13, {2, 1});
  RecoveredSlots recovered = Recover(9 * kSlot);
  EXPECT_EQ(recovered.files.size(), 2u);
  EXPECT_FALSE(recovered.files.contains(3));
  EXPECT_FALSE(IsInIndex(12));
  EXPECT_EQ(recovered.num_blocks, 3);
  EXPECT_EQ(recovered.used_bytes, static_cast<int64_t>(3 * kSlot));
  EXPECT_EQ(PayloadFiles(directory_.path()).size(), 2u);
  recovered = Recover(4 * kSlot);
  EXPECT_EQ(recovered.files.size(), 1u);
  EXPECT_TRUE(IsInIndex(10));
  EXPECT_TRUE(IsInIndex(13));
  EXPECT_FALSE(IsInIndex(11));
}

}  // namespace
}  // namespace reprise::cachestore
