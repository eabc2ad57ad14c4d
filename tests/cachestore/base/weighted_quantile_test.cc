#include "cachestore/base/weighted_quantile.h"

#include <gtest/gtest.h>

namespace reprise::cachestore {
namespace {

TEST(WeightedQuantileTest, EqualWeightsGiveTheOrdinaryQuantile) {
  const std::vector<WeightedValue> values = {{4, 1}, {1, 1}, {3, 1}, {2, 1}};
  EXPECT_EQ(WeightedQuantile(values, 0), 1);
  EXPECT_EQ(WeightedQuantile(values, 0.25), 1);
  EXPECT_EQ(WeightedQuantile(values, 0.5), 2);
  EXPECT_EQ(WeightedQuantile(values, 0.51), 3);
  EXPECT_EQ(WeightedQuantile(values, 1), 4);
}

TEST(WeightedQuantileTest, AHeavyValueDecides) {
  const std::vector<WeightedValue> values = {{4, 1}, {1, 1}, {9, 10}, {2, 1}};
  EXPECT_EQ(WeightedQuantile(values, 0.5), 9);
  EXPECT_EQ(WeightedQuantile(values, 0.2), 4);
  EXPECT_EQ(WeightedQuantile({{7, 0.1}}, 0.9), 7);
}

}  // namespace
}  // namespace reprise::cachestore
