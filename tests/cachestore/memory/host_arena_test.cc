#include "cachestore/memory/host_arena.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <string>

namespace reprise::cachestore {
namespace {

using ::testing::HasSubstr;

TEST(HostArenaTest, ReservesZeroedAlignedMemoryForReal) {
  const auto arena = HostArena::Reserve((1 << 20) + 100);
  ASSERT_TRUE(arena.ok()) << arena.status();
  const absl::Span<std::byte> bytes = (*arena)->bytes();
  EXPECT_EQ(bytes.size(), size_t{1} << 20) << "rounded down";
  EXPECT_EQ(reinterpret_cast<uintptr_t>(bytes.data()) % HostArena::kAlignment, 0u);
  EXPECT_TRUE(
      std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; }));
  struct stat info = {};
  ASSERT_EQ(fstat((*arena)->fd(), &info), 0);
  EXPECT_GE(info.st_blocks * 512, 1 << 20) << "allocated, not sparse";
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
