// How DiskTier reads and writes slots: neighbours in one go, and none lost for another's sake.
#include <atomic>
#include <memory>
#include <vector>

#include "absl/synchronization/notification.h"
#include "cachestore/base/hash.h"
#include "cachestore/tier/aligned_bytes.h"
#include "cachestore/tier/disk_tier.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cachestore/tier/block_samples.h"
#include "tests/cachestore/tier/faulty_block_files.h"

namespace reprise::cachestore {
namespace {

constexpr int64_t kCapacityBytes = int64_t{64} << 20;
constexpr uint64_t kSmallBytes = 100000;
constexpr int kBlocks = 8;

class SlotIoTest : public testing::Test {
 protected:
  // Operation number `failing` fails; 1 is the listing at open, 2 the first file's creation.
  void Open(int failing, Fault fault = Fault::kIoError) {
    files_ = std::make_shared<FaultyBlockFiles>(failing, fault);
    auto tier =
        OpenDiskTier({.directory = directory_.path(), .capacity_bytes = kCapacityBytes}, files_);
    ASSERT_TRUE(tier.ok()) << tier.status();
    tier_ = *std::move(tier);
  }

  // Loads all of `chain` in one batch; how each ended.
  std::vector<absl::Status> LoadAll(std::vector<SampleBlock>& chain) {
    std::vector<absl::Status> ends(chain.size());
    std::vector<AlignedBytes> loaded;
    std::vector<LoadRequest> batch(chain.size());
    std::atomic<size_t> left = chain.size();
    absl::Notification all_ended;
    for (size_t i = 0; i < chain.size(); ++i) {
      const uint64_t bytes = chain[i].block().payload_bytes;
      loaded.emplace_back(AlignUp(bytes));
      batch[i] = {.block = chain[i].block(),
                  .payload = loaded[i].span().first(bytes),
                  .done = [&, i](const absl::Status& status) {
                    ends[i] = status;
                    if (--left == 0) all_ended.Notify();
                  }};
    }
    tier_->StartLoads(std::move(batch));
    all_ended.WaitForNotification();
    for (size_t i = 0; i < chain.size(); ++i) {
      if (!ends[i].ok()) continue;
      EXPECT_EQ(std::memcmp(loaded[i].span().data(), chain[i].payload().data(),
                            chain[i].payload().size()),
                0)
          << i;
    }
    return ends;
  }

  ScratchDirectory directory_;
  std::shared_ptr<FaultyBlockFiles> files_;
  std::unique_ptr<BackingTier> tier_;
};

TEST_F(SlotIoTest, NeighboursAreWrittenAndReadInOneGo) {
  Open(0);
  std::vector<SampleBlock> chain = SampleChain(1, kBlocks, kSmallBytes);
  ASSERT_TRUE(StoreAll(*tier_, chain).ok());
  EXPECT_EQ(files_->num_operations(), 4) << "list, create, one write, one sync";
  EXPECT_THAT(LoadAll(chain), testing::Each(absl::OkStatus()));
  EXPECT_EQ(files_->num_operations(), 5) << "one read";
}

TEST_F(SlotIoTest, LargeBlocksAreWrittenSeveralAtATimeAndReadAlone) {
  Open(0);
  std::vector<SampleBlock> chain = SampleChain(1, 3, uint64_t{2} << 20);
  ASSERT_TRUE(StoreAll(*tier_, chain).ok());
  EXPECT_EQ(files_->num_operations(), 6) << "list, create, three writes, one sync";
  EXPECT_THAT(LoadAll(chain), testing::Each(absl::OkStatus()));
  EXPECT_EQ(files_->num_operations(), 9);
}

TEST_F(SlotIoTest, AFailedReadOfNeighboursIsTriedForEachAlone) {
  for (const Fault fault : {Fault::kIoError, Fault::kShortRead}) {
    Open(0);
    std::vector<SampleBlock> chain =
        SampleChain(fault == Fault::kIoError ? 1 : 50, kBlocks, kSmallBytes);
    ASSERT_TRUE(StoreAll(*tier_, chain).ok());
    tier_.reset();
    Open(3, fault);  // list, open, read
    EXPECT_THAT(LoadAll(chain), testing::Each(absl::OkStatus()));
    EXPECT_EQ(files_->num_operations(), 3 + kBlocks);
    tier_.reset();
    Open(5, fault);  // the first read is good
    EXPECT_THAT(LoadAll(chain), testing::Each(absl::OkStatus()));
    EXPECT_FALSE(files_->fired());
    tier_.reset();
  }
}

TEST_F(SlotIoTest, OneRottenNeighbourIsNotTheOthersLoss) {
  Open(0);
  std::vector<SampleBlock> chain = SampleChain(1, kBlocks, kSmallBytes);
  ASSERT_TRUE(StoreAll(*tier_, chain).ok());
  chain[3].block().parent.lo ^= 1;
  const std::vector<absl::Status> ends = LoadAll(chain);
  for (int i = 0; i < kBlocks; ++i) {
    EXPECT_EQ(ends[i].code(), i == 3 ? absl::StatusCode::kDataLoss : absl::StatusCode::kOk) << i;
  }
}

TEST_F(SlotIoTest, APayloadThatIsNotWhatItsHashSaysIsNotStored) {
  Open(0);
  std::vector<SampleBlock> chain = SampleChain(1, 2, kSmallBytes);
  std::vector<BlockToStore> batch = {chain[0].to_store(), chain[1].to_store()};
  for (BlockToStore& item : batch) item.payload_hash = HashBytes64(item.payload);
  chain[1].payload()[777] ^= std::byte{1};
  const absl::Status refused = tier_->Store(batch);
  EXPECT_EQ(refused.code(), absl::StatusCode::kDataLoss) << refused;
  EXPECT_THAT(std::string(refused.message()), testing::HasSubstr(chain[1].block().key.ToHex()));
  EXPECT_EQ(tier_->num_blocks(), 0);
  EXPECT_EQ(tier_->FreeSlots(kSmallBytes), tier_->CapacitySlots(kSmallBytes));
  chain[1].payload()[777] ^= std::byte{1};
  EXPECT_TRUE(tier_->Store(batch).ok());
  EXPECT_THAT(LoadAll(chain), testing::Each(absl::OkStatus()));
}

}  // namespace
}  // namespace reprise::cachestore
