// Which directories a disk tier opens, and which it refuses.
#include "cachestore/tier/disk_directory.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cachestore/tier/disk_tier.h"
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

// Everything in `directory` with its size, to see that nothing was changed.
std::set<std::string> Snapshot(const std::string& directory) {
  std::set<std::string> entries;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    entries.insert(
        absl::StrCat(entry.path().string(), " ", entry.is_regular_file() ? entry.file_size() : 0));
  }
  return entries;
}

TEST(DiskDirectoryTest, ASecondOpenerIsRefusedAndNamesTheDirectory) {
  ScratchDirectory directory;
  std::unique_ptr<BackingTier> tier = OpenTier(directory.path(), 4 * kMiB);
  const absl::Status second = OpenError(directory.path(), 4 * kMiB);
  EXPECT_EQ(second.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(second.message()), HasSubstr(directory.path()));
  EXPECT_THAT(std::string(second.message()), HasSubstr("in use"));
  tier.reset();
  EXPECT_TRUE(OpenError(directory.path(), 4 * kMiB).ok());
}

TEST(DiskDirectoryTest, ANewerFormatIsRefusedAndNothingIsChanged) {
  ScratchDirectory directory;
  std::vector<SampleBlock> chain = SampleChain(1, 3, 8192);
  {
    std::unique_ptr<BackingTier> tier = OpenTier(directory.path(), 4 * kMiB);
    ASSERT_TRUE(StoreAll(*tier, chain).ok());
  }
  WriteText(directory.path() + "/FORMAT", "reprise-disk-tier 7\n");
  const std::set<std::string> before = Snapshot(directory.path());
  const absl::Status refused = OpenError(directory.path(), 4 * kMiB);
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(
      std::string(refused.message()),
      testing::AllOf(HasSubstr(directory.path()), HasSubstr("version 7"), HasSubstr("version 1")));
  EXPECT_EQ(Snapshot(directory.path()), before);
  WriteText(directory.path() + "/FORMAT", "reprise-disk-tier 1\n");
  std::unique_ptr<BackingTier> tier = OpenTier(directory.path(), 4 * kMiB);
  EXPECT_EQ(tier->num_blocks(), 3);
}

TEST(DiskDirectoryTest, AForeignDirectoryIsRefusedAndNothingIsChanged) {
  ScratchDirectory directory;
  WriteText(directory.path() + "/thesis.tex", "years of work");
  const std::set<std::string> before = Snapshot(directory.path());
  const absl::Status refused = OpenError(directory.path(), 4 * kMiB);
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.message()),
              testing::AllOf(HasSubstr(directory.path()), HasSubstr("thesis.tex")));
  EXPECT_EQ(Snapshot(directory.path()), before);
}

TEST(DiskDirectoryTest, AnUnreadableFormatFileIsRefusedWithItsContents) {
  ScratchDirectory directory;
  WriteText(directory.path() + "/FORMAT", "gibberish");
  const absl::Status refused = OpenError(directory.path(), 4 * kMiB);
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("gibberish"));
}

TEST(DiskDirectoryTest, APathThatIsAFileIsRefused) {
  ScratchDirectory directory;
  const std::string path = directory.path() + "/file";
  WriteText(path, "text");
  const absl::Status refused = OpenError(path, 4 * kMiB);
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.message()), HasSubstr(path));
}

TEST(DiskDirectoryTest, ASetUpThatWasCutShortIsTakenUpAgain) {
  ScratchDirectory directory;
  WriteText(directory.path() + "/FORMAT.tmp", "repr");
  fs::create_directory(directory.path() + "/lost+found");
  std::unique_ptr<BackingTier> tier = OpenTier(directory.path(), 4 * kMiB);
  std::vector<SampleBlock> chain = SampleChain(1, 1, 8192);
  EXPECT_TRUE(StoreAll(*tier, chain).ok());
}

int ModeOf(const std::string& path) {
  struct stat info = {};
  EXPECT_EQ(stat(path.c_str(), &info), 0) << path;
  return static_cast<int>(info.st_mode & 07777);
}

TEST(DiskDirectoryTest, OnlyItsOwnerMayLookIntoIt) {
  ScratchDirectory scratch;
  const std::string path = scratch.path() + "/tier";
  const mode_t mask = umask(0);
  for (int round = 0; round < 2; ++round) {
    const auto directory = DiskDirectory::Open(path);
    ASSERT_TRUE(directory.ok()) << directory.status();
    EXPECT_EQ(ModeOf(path), 0700);
    EXPECT_EQ(ModeOf(path + "/index"), 0700);
    EXPECT_EQ(ModeOf(path + "/FORMAT"), 0600);
    // As an earlier version, or an operator, may have left them.
    ASSERT_EQ(chmod(path.c_str(), 0755), 0);
    ASSERT_EQ(chmod((path + "/index").c_str(), 0777), 0);
  }
  umask(mask);
}

TEST(DiskDirectoryTest, ADirectoryForFilesOfAllUsersIsRefusedAndNotChanged) {
  ScratchDirectory scratch;
  ASSERT_EQ(chmod(scratch.path().c_str(), 01777), 0);
  const auto directory = DiskDirectory::Open(scratch.path());
  EXPECT_EQ(directory.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ModeOf(scratch.path()), 01777);
  EXPECT_TRUE(std::filesystem::is_empty(scratch.path()));
}

}  // namespace
}  // namespace reprise::cachestore
