#include "cachestore/memory/host_arena.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace reprise::cachestore {
namespace {

using ::testing::HasSubstr;

TEST(HostArenaTest, ReservesZeroedAlignedMemoryForReal) {
  const auto arena = HostArena::Reserve((1 << 20) + 100);
  ASSERT_TRUE(arena.ok()) << arena.status();
  const absl::Span<std::byte> bytes = (*arena)->bytes();
  EXPECT_EQ(bytes.size(), size_t{1} << 20) << "rounded down";
  EXPECT_EQ((*arena)->huge_page_bytes(), 0) << "smaller than a huge page";
  EXPECT_EQ(reinterpret_cast<uintptr_t>(bytes.data()) % HostArena::kAlignment, 0u);
  EXPECT_TRUE(
      std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; }));
  struct stat info = {};
  ASSERT_EQ(fstat((*arena)->fd(), &info), 0);
  EXPECT_GE(info.st_blocks * 512, 1 << 20) << "allocated, not sparse";
}

// Bytes of the mapping at `data` in huge pages, by the kernel's account.
int64_t MappedHugeBytes(const void* data) {
  std::ifstream in("/proc/self/smaps");
  const std::string start = absl::StrCat(absl::Hex(reinterpret_cast<uintptr_t>(data)), "-");
  std::string line;
  int64_t kibibytes = 0;
  for (bool inside = false; std::getline(in, line);) {
    if (line.find("-") < line.find(":")) inside = absl::StartsWith(line, start);
    for (const char* name : {"ShmemPmdMapped:", "Shared_Hugetlb:", "Private_Hugetlb:"}) {
      if (inside && absl::StartsWith(line, name)) kibibytes += std::atoll(line.c_str() + 16);
    }
  }
  return kibibytes * 1024;
}

// Whether the kernel makes a huge page of shared memory when it is asked to, and has one left.
bool MakesAHugePage() {
  constexpr size_t kHugePage = size_t{2} << 20;
  constexpr int kCollapse = 25;  // MADV_COLLAPSE, since Linux 6.1
  void* const room = mmap(nullptr, 2 * kHugePage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (room == MAP_FAILED) return false;
  void* page = room;
  size_t room_bytes = 2 * kHugePage;
  std::align(kHugePage, kHugePage, page, room_bytes);
  // Mapped from there on, so that the memory's own offset is a multiple as well.
  page =
      mmap(page, kHugePage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  if (page == MAP_FAILED) return false;
  *static_cast<char*>(page) = 1;
  const bool made = madvise(page, kHugePage, kCollapse) == 0;
  munmap(room, 2 * kHugePage);
  return made;
}

TEST(HostArenaTest, LiesInHugePagesAsFarAsItSays) {
  // The first may lie in pages that the system has reserved.
  for (const int64_t bytes : {int64_t{8} << 20, (int64_t{8} << 20) + 4096}) {
    const auto arena = HostArena::Reserve(bytes);
    ASSERT_TRUE(arena.ok()) << arena.status();
    ASSERT_EQ(static_cast<int64_t>((*arena)->bytes().size()), bytes);
    std::fill((*arena)->bytes().begin(), (*arena)->bytes().end(), std::byte{1});
    EXPECT_EQ(MappedHugeBytes((*arena)->bytes().data()), (*arena)->huge_page_bytes());
    if ((*arena)->huge_page_bytes() < int64_t{8} << 20) {
      EXPECT_FALSE(MakesAHugePage());
    }
  }
}

TEST(HostArenaTest, ASecondMappingOfTheFileSeesTheBytes) {
  const auto arena = HostArena::Reserve(8192);
  ASSERT_TRUE(arena.ok()) << arena.status();
  (*arena)->bytes()[5000] = std::byte{7};
  void* other = mmap(nullptr, 8192, PROT_READ, MAP_SHARED, (*arena)->fd(), 0);
  ASSERT_NE(other, MAP_FAILED);
  EXPECT_EQ(static_cast<const std::byte*>(other)[5000], std::byte{7});
  munmap(other, 8192);
}

TEST(HostArenaTest, AReadOnlyDescriptionReadsAndNeverWrites) {
  const auto arena = HostArena::Reserve(8192);
  ASSERT_TRUE(arena.ok()) << arena.status();
  (*arena)->bytes()[5000] = std::byte{7};
  const absl::StatusOr<int> fd = (*arena)->OpenReadOnly();
  ASSERT_TRUE(fd.ok()) << fd.status();
  void* mapping = mmap(nullptr, 8192, PROT_READ, MAP_SHARED, *fd, 0);
  ASSERT_NE(mapping, MAP_FAILED);
  EXPECT_EQ(static_cast<const std::byte*>(mapping)[5000], std::byte{7});
  EXPECT_NE(mprotect(mapping, 8192, PROT_READ | PROT_WRITE), 0);
  EXPECT_EQ(mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0), MAP_FAILED);
  const char byte = 1;
  EXPECT_EQ(pwrite(*fd, &byte, 1, 0), -1);
  // What the tests above would say of a description that can be written through.
  void* writable = mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, (*arena)->fd(), 0);
  ASSERT_NE(writable, MAP_FAILED);
  munmap(writable, 8192);
  munmap(mapping, 8192);
  close(*fd);
}

TEST(HostArenaTest, NobodyCanChangeItsSizeOrForbidWriting) {
  const auto arena = HostArena::Reserve(8192);
  ASSERT_TRUE(arena.ok()) << arena.status();
  const int fd = (*arena)->fd();
  EXPECT_NE(ftruncate(fd, 4096), 0);
  EXPECT_NE(ftruncate(fd, 16384), 0);
  EXPECT_NE(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0);
  EXPECT_EQ(fcntl(fd, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
}

TEST(HostArenaTest, ImpossibleBudgetsAreErrorsAtStartThatNameBothValues) {
  EXPECT_EQ(HostArena::Reserve(4095).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(HostArena::Reserve(-1).status().code(), absl::StatusCode::kInvalidArgument);
  const absl::Status status = HostArena::Reserve(int64_t{1} << 46).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("70368744177664"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("are available"));
}

}  // namespace
}  // namespace reprise::cachestore
