#include "cachestore/policy/waiting_requests.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

#include "tests/fakes/test_seed.h"

namespace reprise::cachestore {
namespace {

constexpr int64_t kMinuteUs = 60'000'000;

TEST(WaitingRequestsTest, EachOfManyIsFoundByItsNumber) {
  std::mt19937 random(TestSeed());
  WaitingRequests waiting;
  std::vector<uint64_t> requests(10'000);
  std::iota(requests.begin(), requests.end(), uint64_t{1});
  for (const uint64_t request : requests) {
    waiting.Add(request, /*now_us=*/0, {static_cast<BlockId>(request)});
  }
  std::shuffle(requests.begin(), requests.end(), random);
  for (const uint64_t request : requests) {
    EXPECT_EQ(waiting.Take(request), std::vector<BlockId>{static_cast<BlockId>(request)});
    EXPECT_TRUE(waiting.Take(request).empty());
  }
  EXPECT_EQ(waiting.size(), 0u);
}

TEST(WaitingRequestsTest, TheFirstOneIsOverdueAfterAMinute) {
  WaitingRequests waiting;
  EXPECT_FALSE(waiting.HasOverdue(kMinuteUs));
  waiting.Add(1, 0, {10});
  waiting.Add(2, 10, {20});
  EXPECT_FALSE(waiting.HasOverdue(kMinuteUs - 1));
  ASSERT_TRUE(waiting.HasOverdue(kMinuteUs));
  EXPECT_EQ(waiting.TakeFirst(), std::vector<BlockId>{10});
  EXPECT_FALSE(waiting.HasOverdue(kMinuteUs));
  EXPECT_TRUE(waiting.HasOverdue(kMinuteUs + 10));
}

TEST(WaitingRequestsTest, ThereIsRoomForSoManyBlocks) {
  WaitingRequests waiting;
  EXPECT_EQ(waiting.room(), WaitingRequests::kMaxBlocks);
  waiting.Add(1, 0, {10, 11});
  waiting.Add(2, 0, std::vector<BlockId>(WaitingRequests::kMaxBlocks - 2));
  EXPECT_EQ(waiting.room(), 0u);
  EXPECT_FALSE(waiting.HasOverdue(0)) << "those that came first keep theirs";
  EXPECT_EQ(waiting.Take(1).size(), 2u);
  EXPECT_EQ(waiting.room(), 2u);
}

}  // namespace
}  // namespace reprise::cachestore
