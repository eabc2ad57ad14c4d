// How DiskTier loads blocks piece by piece: in the order in which the pieces are needed, each
// verified before it is reported.
#include "cachestore/tier/slot_piece_reader.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "cachestore/base/hash.h"
#include "cachestore/tier/aligned_bytes.h"
#include "cachestore/tier/disk_tier.h"
#include "cachestore/tier/little_endian.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cachestore/tier/block_samples.h"
#include "tests/cachestore/tier/faulty_block_files.h"
#include "tests/cachestore/tier/gated_block_files.h"

namespace reprise::cachestore {
namespace {

constexpr int64_t kCapacityBytes = int64_t{64} << 20;
constexpr uint64_t kPieceBytes = uint64_t{64} << 10;
constexpr uint64_t kPayloadBytes = 3 * kPieceBytes + 5000;
constexpr uint64_t kSlotBytes = 4096 + 3 * kPieceBytes + 8192;

// A load by pieces, and what was told about it.
class PieceLoad {
 public:
  explicit PieceLoad(const SampleBlock& block)
      : block_(block), loaded_(AlignUp(block.block().payload_bytes)) {}

  LoadRequest Request() {
    return {.block = block_.block(),
            .payload = loaded_.span().first(block_.block().payload_bytes),
            .progress = [this](uint64_t bytes) { NoteProgress(bytes); },
            .done =
                [this](const absl::Status& status) {
                  EXPECT_TRUE(!status.ok() || IsRight(block_.block().payload_bytes));
                  absl::MutexLock lock(&mu_);
                  ++ends_;
                  end_ = status;
                }};
  }
  absl::Status AwaitEnd() {
    absl::MutexLock lock(&mu_);
    const auto ended = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return ends_ > 0; };
    mu_.Await(absl::Condition(&ended));
    EXPECT_EQ(ends_, 1);
    return end_;
  }
  std::vector<uint64_t> progress() {
    absl::MutexLock lock(&mu_);
    return progress_;
  }
  void AwaitProgress(uint64_t bytes) {
    absl::MutexLock lock(&mu_);
    const auto reached = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      return !progress_.empty() && progress_.back() >= bytes;
    };
    mu_.Await(absl::Condition(&reached));
  }

 private:
  void NoteProgress(uint64_t bytes) {
    EXPECT_TRUE(IsRight(bytes)) << bytes;
    absl::MutexLock lock(&mu_);
    EXPECT_EQ(ends_, 0);
    progress_.push_back(bytes);
  }
  bool IsRight(uint64_t bytes) {
    std::vector<std::byte> right(block_.block().payload_bytes);
    FillPayload(block_.block().key, absl::MakeSpan(right));
    return std::memcmp(loaded_.span().data(), right.data(), bytes) == 0;
  }

  const SampleBlock& block_;
  AlignedBytes loaded_;
  absl::Mutex mu_;
  std::vector<uint64_t> progress_ ABSL_GUARDED_BY(mu_);
  int ends_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Status end_ ABSL_GUARDED_BY(mu_);
};

class SlotPieceReaderTest : public testing::Test {
 protected:
  void Open(std::shared_ptr<BlockFileSystem> files, int num_blocks) {
    auto tier = OpenDiskTier({.directory = directory_.path(), .capacity_bytes = kCapacityBytes},
                             std::move(files));
    ASSERT_TRUE(tier.ok()) << tier.status();
    tier_ = *std::move(tier);
    if (num_blocks == 0) return;
    chain_ = SampleChain(1, num_blocks, kPayloadBytes);
    ASSERT_TRUE(StoreAll(*tier_, chain_).ok());
  }
  // The blocks of a batch are in slots 0, 1, 2 ... of the first file.
  void ChangeSlot(int slot, uint64_t offset, absl::FunctionRef<void(std::string&)> change,
                  size_t size) {
    const auto files = PayloadFiles(directory_.path());
    ASSERT_EQ(files.size(), 1u);
    const int fd = open(files[0].c_str(), O_RDWR);
    ASSERT_GE(fd, 0);
    const auto at = static_cast<off_t>(slot * kSlotBytes + offset);
    std::string bytes(size, '\0');
    ASSERT_EQ(pread(fd, bytes.data(), size, at), static_cast<ssize_t>(size));
    change(bytes);
    ASSERT_EQ(pwrite(fd, bytes.data(), size, at), static_cast<ssize_t>(size));
    ASSERT_EQ(fdatasync(fd), 0);
    close(fd);
  }
  void FlipPayloadBit(int slot, uint64_t offset) {
    ChangeSlot(
        slot, 4096 + offset, [](std::string& byte) { byte[0] ^= 4; }, 1);
  }
  absl::Status LoadByPieces(int block, std::vector<uint64_t>* progress) {
    PieceLoad load(chain_[block]);
    std::vector<LoadRequest> batch;
    batch.push_back(load.Request());
    tier_->StartLoads(std::move(batch));
    const absl::Status end = load.AwaitEnd();
    *progress = load.progress();
    return end;
  }

  ScratchDirectory directory_;
  std::unique_ptr<BackingTier> tier_;
  std::vector<SampleBlock> chain_;
};

TEST_F(SlotPieceReaderTest, ReportsEachPieceAndThenTheEnd) {
  Open(MakePosixBlockFileSystem(), 1);
  std::vector<uint64_t> progress;
  const absl::Status end = LoadByPieces(0, &progress);
  EXPECT_TRUE(end.ok()) << end;
  EXPECT_THAT(progress, testing::ElementsAre(kPieceBytes, 2 * kPieceBytes, 3 * kPieceBytes));
}

TEST_F(SlotPieceReaderTest, ReadsTheFirstPiecesOfAllBeforeTheSecondOfAny) {
  constexpr int kBlocks = 50;  // more than are read at once
  auto files = std::make_shared<GatedBlockFiles>();
  Open(files, kBlocks);
  files->CloseGate();
  std::vector<std::unique_ptr<PieceLoad>> loads;
  std::vector<LoadRequest> batch;
  for (const SampleBlock& block : chain_) {
    loads.push_back(std::make_unique<PieceLoad>(block));
    batch.push_back(loads.back()->Request());
  }
  tier_->StartLoads(std::move(batch));
  const size_t at_once = std::min(32, files->max_in_flight());
  ASSERT_LT(at_once, static_cast<size_t>(kBlocks));
  EXPECT_TRUE(files->AwaitReads(at_once));
  constexpr size_t kReads = 4 * kBlocks;
  for (size_t passed = 1; passed <= kReads; ++passed) {
    EXPECT_TRUE(files->PassOne());
    if (!files->AwaitReads(std::min(kReads, at_once + passed))) break;
  }
  files->OpenGate();
  for (const auto& load : loads) EXPECT_TRUE(load->AwaitEnd().ok());
  std::vector<uint64_t> pieces;
  for (const uint64_t offset : files->offsets())
    pieces.push_back(offset % kSlotBytes / kPieceBytes);
  EXPECT_EQ(pieces.size(), kReads);
  EXPECT_TRUE(std::is_sorted(pieces.begin(), pieces.end()));
  EXPECT_EQ(std::count(pieces.begin(), pieces.end(), 0u), kBlocks);
}

TEST_F(SlotPieceReaderTest, TheFirstPiecesAreThereWhileTheLastAreNot) {
  auto files = std::make_shared<GatedBlockFiles>();
  Open(files, 2);
  files->CloseGate();
  PieceLoad first(chain_[0]);
  PieceLoad second(chain_[1]);
  std::vector<LoadRequest> batch;
  batch.push_back(first.Request());
  batch.push_back(second.Request());
  tier_->StartLoads(std::move(batch));
  EXPECT_TRUE(files->AwaitReads(2));
  files->PassOne();
  files->PassOne();
  first.AwaitProgress(kPieceBytes);
  second.AwaitProgress(kPieceBytes);
  files->OpenGate();
  EXPECT_TRUE(first.AwaitEnd().ok());
  EXPECT_TRUE(second.AwaitEnd().ok());
}

TEST_F(SlotPieceReaderTest, NothingIsReportedFromADamagedPieceOn) {
  Open(MakePosixBlockFileSystem(), 4);
  for (int damaged = 0; damaged < 4; ++damaged) {
    FlipPayloadBit(damaged, damaged * kPieceBytes + 4000);
    std::vector<uint64_t> progress;
    const absl::Status end = LoadByPieces(damaged, &progress);
    EXPECT_EQ(end.code(), absl::StatusCode::kDataLoss) << end;
    EXPECT_THAT(std::string(end.message()), testing::HasSubstr("payload checksum"));
    std::vector<uint64_t> expected;
    for (int piece = 1; piece <= damaged; ++piece) expected.push_back(piece * kPieceBytes);
    EXPECT_EQ(progress, expected);
  }
}

TEST_F(SlotPieceReaderTest, NothingIsReportedOfAnotherBlock) {
  Open(MakePosixBlockFileSystem(), 2);
  chain_[1].block().parent.lo ^= 1;
  std::vector<uint64_t> progress;
  EXPECT_EQ(LoadByPieces(1, &progress).code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(progress, testing::IsEmpty());
}

TEST_F(SlotPieceReaderTest, ASlotOfVersion1IsLoadedAndReportedAsAWhole) {
  Open(MakePosixBlockFileSystem(), 2);
  for (int slot = 0; slot < 2; ++slot) {
    const auto make_version_1 = [](std::string& header) {
      PutLittleEndian32(1, header.data() + 8);
      std::fill(header.begin() + 88, header.end(), '\0');
      const auto* bytes = reinterpret_cast<const std::byte*>(header.data());
      PutLittleEndian64(HashBytes64({bytes, 4088}), header.data() + 4088);
    };
    ChangeSlot(slot, 0, make_version_1, 4096);
  }
  std::vector<uint64_t> progress;
  EXPECT_TRUE(LoadByPieces(0, &progress).ok());
  EXPECT_THAT(progress, testing::IsEmpty());
  EXPECT_TRUE(LoadAndCompare(*tier_, chain_[0].block()).ok());
  FlipPayloadBit(1, kPayloadBytes - 1);
  EXPECT_EQ(LoadByPieces(1, &progress).code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(progress, testing::IsEmpty());
  EXPECT_EQ(LoadAndCompare(*tier_, chain_[1].block()).code(), absl::StatusCode::kDataLoss);
}

TEST_F(SlotPieceReaderTest, AFailedReadEndsItsLoadAlone) {
  Open(std::make_shared<FaultyBlockFiles>(0, Fault::kIoError), 2);
  tier_.reset();
  Open(std::make_shared<FaultyBlockFiles>(4, Fault::kIoError), 0);  // list, open, two first pieces
  PieceLoad first(chain_[0]);
  PieceLoad second(chain_[1]);
  std::vector<LoadRequest> batch;
  batch.push_back(first.Request());
  batch.push_back(second.Request());
  tier_->StartLoads(std::move(batch));
  std::vector<absl::StatusCode> ends = {first.AwaitEnd().code(), second.AwaitEnd().code()};
  EXPECT_THAT(ends,
              testing::UnorderedElementsAre(absl::StatusCode::kOk, absl::StatusCode::kInternal));
}

TEST_F(SlotPieceReaderTest, TheEndOfTheTierWaitsForItsLoads) {
  constexpr int kBlocks = 40;
  Open(MakePosixBlockFileSystem(), kBlocks);
  std::vector<std::unique_ptr<PieceLoad>> loads;
  std::vector<LoadRequest> batch;
  for (const SampleBlock& block : chain_) {
    loads.push_back(std::make_unique<PieceLoad>(block));
    batch.push_back(loads.back()->Request());
  }
  tier_->StartLoads(std::move(batch));
  tier_.reset();
  for (const auto& load : loads) {
    EXPECT_TRUE(load->AwaitEnd().ok());
    EXPECT_EQ(load->progress().size(), 3u);
  }
}

}  // namespace
}  // namespace reprise::cachestore
