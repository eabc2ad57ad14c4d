#include "cachestore/base/huge_page_allocator.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <vector>

namespace reprise::cachestore {
namespace {

using Words = std::vector<uint64_t, HugePageAllocator<uint64_t>>;

TEST(HugePageAllocatorTest, SmallArraysStartOnACacheLineLargeOnesOnAHugePage) {
  const Words small(100);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(small.data()) % 64, 0u);
  for (const size_t count : {size_t{1} << 18, (size_t{1} << 18) + 1, size_t{3'000'000}}) {
    const Words large(count);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(large.data()) % (size_t{2} << 20), 0u) << count;
  }
}

// Across the size from which on memory is mapped, and back.
TEST(HugePageAllocatorTest, AVectorKeepsItsContentsWhileItGrowsAndShrinks) {
  Words words;
  for (uint64_t i = 0; i < 1'000'000; ++i) words.push_back(i);
  for (uint64_t i = 0; i < words.size(); ++i) ASSERT_EQ(words[i], i);
  words.resize(100);
  words.shrink_to_fit();
  for (uint64_t i = 0; i < words.size(); ++i) ASSERT_EQ(words[i], i);
}

}  // namespace
}  // namespace reprise::cachestore
