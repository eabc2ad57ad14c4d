#include "cachestore/tier/slot_files.h"

#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/cachestore/tier/block_samples.h"

namespace reprise::cachestore {
namespace {

constexpr uint64_t kSlot = 8192;
constexpr int64_t kBudgetBytes = 64 * kSlot;  // files of 8 slots

// A file system with room for `room_bytes` bytes of files.
class SmallFileSystem final : public BlockFileSystem {
 public:
  absl::StatusOr<std::unique_ptr<BlockFile>> Create(const std::string& path,
                                                    uint64_t bytes) override {
    ++creates;
    if (used_bytes_ + bytes > room_bytes) return ErrnoStatus(ENOSPC, path);
    auto file = real_->Create(path, bytes);
    if (file.ok()) used_bytes_ += bytes;
    return file;
  }
  absl::StatusOr<std::unique_ptr<BlockFile>> Open(const std::string& path) override {
    return real_->Open(path);
  }
  absl::Status Remove(const std::string& path) override {
    used_bytes_ -= std::filesystem::file_size(path);
    return real_->Remove(path);
  }
  absl::StatusOr<std::vector<Entry>> List(const std::string& directory) override {
    return real_->List(directory);
  }
  void Post(absl::AnyInvocable<void() &&> work) override { real_->Post(std::move(work)); }
  int max_in_flight() const override { return real_->max_in_flight(); }
  absl::string_view io_method() const override { return real_->io_method(); }

  uint64_t room_bytes = 0;
  int creates = 0;

 private:
  const std::unique_ptr<BlockFileSystem> real_ = MakePosixBlockFileSystem(IoMethod::kThreads);
  uint64_t used_bytes_ = 0;
};

class SlotFilesTest : public testing::Test {
 protected:
  std::vector<SlotAddress> Take(size_t count, uint64_t slot_bytes = kSlot) {
    auto taken = slots_.Reserve(slot_bytes, count);
    EXPECT_TRUE(taken.ok()) << taken.status();
    return taken.ok() ? *taken : std::vector<SlotAddress>();
  }

  ScratchDirectory directory_;
  std::shared_ptr<SmallFileSystem> files_ = std::make_shared<SmallFileSystem>();
  absl::Time now_ = absl::UnixEpoch();
  SlotFiles slots_{directory_.path(), kBudgetBytes, files_, [this] { return now_; }};
};

TEST_F(SlotFilesTest, WhenTheFileSystemIsFullOnlyWhatIsLeftCountsAsFree) {
  files_->room_bytes = 20 * kSlot;  // less than the budget: two files fit
  EXPECT_EQ(slots_.FreeSlots(kSlot), 64);
  const std::vector<SlotAddress> taken = Take(16);
  EXPECT_EQ(slots_.file_bytes(), static_cast<int64_t>(16 * kSlot));
  EXPECT_EQ(slots_.Reserve(kSlot, 1).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(slots_.FreeSlots(kSlot), 0) << "so the caller erases instead of waiting for room";
  EXPECT_EQ(slots_.CapacitySlots(kSlot), 64);
  const int creates = files_->creates;
  slots_.Release(absl::MakeConstSpan(taken).first(3));
  EXPECT_EQ(slots_.FreeSlots(kSlot), 3);
  EXPECT_EQ(Take(3).size(), 3u);
  EXPECT_EQ(slots_.Reserve(kSlot, 1).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(files_->creates, creates) << "a full file system is not asked again at once";
}

TEST_F(SlotFilesTest, AFileSystemThatWasFullIsTriedAgainAfterAWhile) {
  files_->room_bytes = 8 * kSlot;
  Take(8);
  EXPECT_FALSE(slots_.Reserve(kSlot, 1).ok());
  files_->room_bytes = 1000 * kSlot;
  EXPECT_FALSE(slots_.Reserve(kSlot, 1).ok());
  now_ += absl::Minutes(1);
  EXPECT_EQ(slots_.FreeSlots(kSlot), 56);
  EXPECT_EQ(Take(56).size(), 56u);
}

TEST_F(SlotFilesTest, InAFullFileSystemEmptyFilesGiveWayToAnotherSlotSize) {
  files_->room_bytes = 16 * kSlot;
  slots_.Release(Take(16));
  EXPECT_FALSE(slots_.Reserve(kSlot, 24).ok());
  EXPECT_EQ(slots_.FreeSlots(2 * kSlot), 8);
  EXPECT_EQ(Take(8, 2 * kSlot).size(), 8u);
  EXPECT_EQ(slots_.FreeSlots(kSlot), 0);
}

}  // namespace
}  // namespace reprise::cachestore
