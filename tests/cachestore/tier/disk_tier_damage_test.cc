// What DiskTier makes of bytes on disk that are not what was stored: never data.
#include <fcntl.h>
#include <unistd.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cachestore/tier/disk_tier.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cachestore/tier/block_samples.h"

namespace reprise::cachestore {
namespace {

constexpr int64_t kCapacityBytes = int64_t{8} << 20;
constexpr uint64_t kPayloadBytes = 10000;  // slots of 4096 + 12288 bytes
constexpr uint64_t kSlotBytes = 4096 + 12288;
constexpr int kNumBlocks = 8;

class DiskTierDamageTest : public testing::Test {
 protected:
  DiskTierDamageTest() : chain_(SampleChain(1, kNumBlocks, kPayloadBytes)) {
    auto tier = OpenDiskTier({.directory = directory_.path(), .capacity_bytes = kCapacityBytes});
    CHECK(tier.ok());
    tier_ = *std::move(tier);
    CHECK(StoreAll(*tier_, chain_).ok());
    const auto files = PayloadFiles(directory_.path());
    CHECK(files.size() == 1);
    fd_ = open(files[0].c_str(), O_RDWR);
    CHECK(fd_ >= 0);
  }
  ~DiskTierDamageTest() override { close(fd_); }

  std::string ReadBytes(uint64_t offset, size_t size) {
    std::string bytes(size, '\0');
    CHECK(pread(fd_, bytes.data(), size, offset) == static_cast<ssize_t>(size));
    return bytes;
  }
  void WriteBytes(uint64_t offset, const std::string& bytes) {
    CHECK(pwrite(fd_, bytes.data(), bytes.size(), offset) == static_cast<ssize_t>(bytes.size()));
    CHECK(fdatasync(fd_) == 0);
  }
  void FlipBit(uint64_t offset, int bit) {
    std::string byte = ReadBytes(offset, 1);
    byte[0] = static_cast<char>(byte[0] ^ (1 << bit));
    WriteBytes(offset, byte);
  }
  // The blocks of a batch are in slots 0, 1, 2 ... of the file.
  static uint64_t SlotOffset(int block) { return block * kSlotBytes; }

  ScratchDirectory directory_;
  std::vector<SampleBlock> chain_;
  std::unique_ptr<BackingTier> tier_;
  int fd_ = -1;
};

struct HeaderField {
  std::string name;  // as the error names it
  uint64_t offset;
  uint64_t size;
};

TEST_F(DiskTierDamageTest, AFlippedBitInAnyHeaderFieldIsNamedAsDataLoss) {
  const std::vector<HeaderField> fields = {
      {"magic", 0, 8},
      {"version", 8, 4},
      {"codec", 12, 4},
      {"key", 16, 16},
      {"parent", 32, 16},
      {"root", 48, 16},
      {"payload length", 64, 8},
      {"payload checksum", 72, 8},
      {"sequence", 80, 8},
      {"header checksum", 88, 4000},
      {"header checksum", 4088, 8},
  };
  int num_flips = 0;
  std::mt19937_64 random(1);
  for (const HeaderField& field : fields) {
    for (const uint64_t at : {uint64_t{0}, field.size - 1, random() % field.size}) {
      const int bit = static_cast<int>(random() % 8);
      const uint64_t offset = SlotOffset(2) + field.offset + at;
      ASSERT_TRUE(LoadAndCompare(*tier_, chain_[2].block()).ok());
      const std::string before = ReadBytes(offset, 1);
      FlipBit(offset, bit);
      ASSERT_NE(ReadBytes(offset, 1), before);
      ++num_flips;
      const absl::Status loaded = LoadAndCompare(*tier_, chain_[2].block());
      EXPECT_EQ(loaded.code(), absl::StatusCode::kDataLoss) << field.name << " " << loaded;
      EXPECT_THAT(std::string(loaded.message()), testing::HasSubstr(field.name));
      EXPECT_THAT(std::string(loaded.message()), testing::HasSubstr(chain_[2].block().key.ToHex()));
      FlipBit(offset, bit);
    }
  }
  EXPECT_EQ(num_flips, 33);
  EXPECT_TRUE(LoadAndCompare(*tier_, chain_[2].block()).ok());
}

TEST_F(DiskTierDamageTest, AThousandFlippedPayloadBitsAreAThousandDataLosses) {
  std::mt19937_64 random(2);
  int num_flips = 0, num_data_losses = 0;
  for (int i = 0; i < 1000; ++i) {
    const int block = static_cast<int>(random() % kNumBlocks);
    const uint64_t offset = SlotOffset(block) + 4096 + random() % kPayloadBytes;
    const int bit = static_cast<int>(random() % 8);
    const std::string before = ReadBytes(offset, 1);
    FlipBit(offset, bit);
    num_flips += ReadBytes(offset, 1) != before;
    const absl::Status loaded = LoadAndCompare(*tier_, chain_[block].block());
    num_data_losses += loaded.code() == absl::StatusCode::kDataLoss;
    EXPECT_THAT(std::string(loaded.message()), testing::HasSubstr("payload checksum"));
    // Its neighbour is untouched.
    EXPECT_TRUE(LoadAndCompare(*tier_, chain_[(block + 1) % kNumBlocks].block()).ok());
    FlipBit(offset, bit);
  }
  EXPECT_EQ(num_flips, 1000);
  EXPECT_EQ(num_data_losses, 1000);
  for (const SampleBlock& block : chain_) EXPECT_TRUE(LoadAndCompare(*tier_, block.block()).ok());
}

TEST_F(DiskTierDamageTest, PaddingBehindThePayloadIsNotPartOfIt) {
  FlipBit(SlotOffset(1) + 4096 + kPayloadBytes, 3);
  EXPECT_TRUE(LoadAndCompare(*tier_, chain_[1].block()).ok());
}

TEST_F(DiskTierDamageTest, SwappedPayloadsAreDataLoss) {
  const std::string first = ReadBytes(SlotOffset(0) + 4096, 12288);
  const std::string second = ReadBytes(SlotOffset(1) + 4096, 12288);
  ASSERT_NE(first, second);
  WriteBytes(SlotOffset(0) + 4096, second);
  WriteBytes(SlotOffset(1) + 4096, first);
  for (int i : {0, 1}) {
    const absl::Status loaded = LoadAndCompare(*tier_, chain_[i].block());
    EXPECT_EQ(loaded.code(), absl::StatusCode::kDataLoss) << loaded;
    EXPECT_THAT(std::string(loaded.message()), testing::HasSubstr("payload checksum"));
  }
  EXPECT_TRUE(LoadAndCompare(*tier_, chain_[2].block()).ok());
}

TEST_F(DiskTierDamageTest, SwappedSlotsAreDataLossThatNamesBothKeys) {
  const std::string first = ReadBytes(SlotOffset(0), kSlotBytes);
  const std::string second = ReadBytes(SlotOffset(1), kSlotBytes);
  WriteBytes(SlotOffset(0), second);
  WriteBytes(SlotOffset(1), first);
  const absl::Status loaded = LoadAndCompare(*tier_, chain_[0].block());
  EXPECT_EQ(loaded.code(), absl::StatusCode::kDataLoss) << loaded;
  EXPECT_THAT(std::string(loaded.message()),
              testing::AllOf(testing::HasSubstr(chain_[0].block().key.ToHex()),
                             testing::HasSubstr(chain_[1].block().key.ToHex())));
  WriteBytes(SlotOffset(0), first);
  EXPECT_TRUE(LoadAndCompare(*tier_, chain_[0].block()).ok());
}

TEST_F(DiskTierDamageTest, ASlotOfAnotherNamespaceOrParentIsDataLoss) {
  StoredBlock asked = chain_[3].block();
  asked.root.lo ^= 1;
  EXPECT_EQ(LoadAndCompare(*tier_, asked).code(), absl::StatusCode::kDataLoss);
  asked = chain_[3].block();
  asked.parent.hi ^= 1;
  EXPECT_EQ(LoadAndCompare(*tier_, asked).code(), absl::StatusCode::kDataLoss);
  asked = chain_[3].block();
  asked.payload_bytes += 1;
  EXPECT_EQ(LoadAndCompare(*tier_, asked).code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(LoadAndCompare(*tier_, chain_[3].block()).ok());
}

TEST_F(DiskTierDamageTest, ATruncatedFileIsDataLossForWhatItLostAndNothingElse) {
  ASSERT_EQ(ftruncate(fd_, static_cast<off_t>(SlotOffset(5) + 4096)), 0);
  EXPECT_TRUE(LoadAndCompare(*tier_, chain_[4].block()).ok());
  EXPECT_EQ(LoadAndCompare(*tier_, chain_[5].block()).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(LoadAndCompare(*tier_, chain_[6].block()).code(), absl::StatusCode::kDataLoss);
}

TEST_F(DiskTierDamageTest, ADamagedBlockCanBeErasedAndStoredAgain) {
  FlipBit(SlotOffset(2) + 5000, 1);
  EXPECT_EQ(LoadAndCompare(*tier_, chain_[2].block()).code(), absl::StatusCode::kDataLoss);
  ASSERT_TRUE(tier_->Erase({chain_[2].block().key}).ok());
  ASSERT_TRUE(tier_->Store({chain_[2].to_store()}).ok());
  EXPECT_TRUE(LoadAndCompare(*tier_, chain_[2].block()).ok());
}

}  // namespace
}  // namespace reprise::cachestore
