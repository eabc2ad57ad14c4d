#include "cachestore/memory/gather_copy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

namespace reprise::cachestore {
namespace {

constexpr uint32_t kBlocks = 3;
constexpr uint32_t kThreads = 32;
// A thread's words at once, of all threads of a block.
constexpr uint64_t kTileWords = uint64_t{kGatherWordsAhead} * kThreads;

enum class Order { kForward, kReverse, kRandom };

// The grid, one thread after the other.
void RunGrid(const GatherRuns& runs, Order order) {
  std::vector<uint32_t> threads(kBlocks * kThreads);
  std::iota(threads.begin(), threads.end(), 0u);
  if (order == Order::kReverse) std::reverse(threads.begin(), threads.end());
  if (order == Order::kRandom) std::shuffle(threads.begin(), threads.end(), std::mt19937(3));
  for (const uint32_t t : threads) {
    CopyGathered(runs, t / kThreads, kBlocks, t % kThreads, kThreads);
  }
}

class GatherCopyTest : public ::testing::TestWithParam<Order> {};

INSTANTIATE_TEST_SUITE_P(Orders, GatherCopyTest,
                         testing::Values(Order::kForward, Order::kReverse, Order::kRandom));

// Lengths around what a block copies at once, more runs than blocks, and gaps that stay as they
// are.
TEST_P(GatherCopyTest, CopiesEveryWordOfEveryRunAndNoOther) {
  std::vector<uint64_t> lengths = {0, 1, 2, kThreads - 1, kThreads, kThreads + 1};
  for (uint64_t length : {kTileWords - kThreads, kTileWords - 1, kTileWords, kTileWords + 1,
                          2 * kTileWords - 1, 3 * kTileWords + kThreads + 5}) {
    lengths.push_back(length);
  }
  const uint64_t total =
      std::accumulate(lengths.begin(), lengths.end(), uint64_t{0}) + lengths.size();
  std::vector<GatherWord> from(total);
  for (uint64_t i = 0; i < total; ++i) from[i] = {i + 1, ~i};
  constexpr uint64_t kUntouched = 0xeeeeeeeeeeeeeeee;
  std::vector<GatherWord> to(total, GatherWord{kUntouched, kUntouched});
  auto runs = std::make_unique<GatherRuns>();
  runs->size = static_cast<uint32_t>(lengths.size());
  // The sources lie in the order of the lengths, the destinations in the reverse, a word apart.
  uint64_t source = 0;
  uint64_t destination = total;
  for (size_t r = 0; r < lengths.size(); ++r) {
    destination -= lengths[r] + 1;
    runs->runs[r] = {&to[destination], &from[source], lengths[r]};
    source += lengths[r] + 1;
  }
  RunGrid(*runs, GetParam());
  uint64_t checked = 0;
  for (size_t r = 0; r < lengths.size(); ++r) {
    const GatherRun& run = runs->runs[r];
    for (uint64_t i = 0; i < run.num_words; ++i, ++checked) {
      ASSERT_EQ(run.to[i].low, run.from[i].low) << r << " " << i;
      ASSERT_EQ(run.to[i].high, run.from[i].high) << r << " " << i;
    }
    EXPECT_EQ(run.to[run.num_words].low, kUntouched) << r;
  }
  EXPECT_EQ(checked, total - lengths.size());
}

TEST(GatherCopyLimitsTest, AListFitsIntoTheParametersOfAKernel) {
  EXPECT_LE(sizeof(GatherRuns), 32764u);
}

}  // namespace
}  // namespace reprise::cachestore
