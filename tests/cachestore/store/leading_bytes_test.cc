#include "cachestore/store/leading_bytes.h"

#include <algorithm>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace reprise::cachestore {
namespace {

TEST(LeadingBytesTest, OneBlockWithoutBytesIsNone) {
  LeadingBytes leading(3);
  EXPECT_EQ(leading.least(), 0u);
  EXPECT_FALSE(leading.Raise(0, 100));
  EXPECT_FALSE(leading.Raise(2, 50));
  EXPECT_TRUE(leading.Raise(1, 70));
  EXPECT_EQ(leading.least(), 50u);
}

TEST(LeadingBytesTest, AgreesWithTheLeastOfAllUnderRandomUse) {
  std::mt19937 random(1);
  LeadingBytes leading(20);
  std::vector<uint64_t> model(20);
  int grown = 0;
  for (int step = 0; step < 20000; ++step) {
    const size_t block = random() % 20;
    const uint64_t bytes = model[block] + random() % 5 - random() % 2;
    const uint64_t before = *std::min_element(model.begin(), model.end());
    if (bytes < (uint64_t{1} << 60)) model[block] = std::max(model[block], bytes);
    const uint64_t after = *std::min_element(model.begin(), model.end());
    if (bytes < (uint64_t{1} << 60)) {
      ASSERT_EQ(leading.Raise(block, bytes), after > before);
    }
    ASSERT_EQ(leading.least(), after);
    grown += after > before;
  }
  EXPECT_GT(grown, 100);
}

}  // namespace
}  // namespace reprise::cachestore
