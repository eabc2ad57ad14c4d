#include "bench/rounds.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace reprise::bench {
namespace {

TEST(RoundsTest, MedianIsTheMiddleFigure) {
  EXPECT_EQ(Median({7}), 7);
  EXPECT_EQ(Median({9, 1, 5}), 5);
  EXPECT_EQ(Median({9, 1, 5, 7}), 5);
}

TEST(RoundsTest, ArmsTakeTurnsAndTheFirstRoundDoesNotCount) {
  std::string order;
  double next_a = 100;
  const Arm arms[] = {{"a",
                       [&] {
                         order += 'a';
                         return next_a /= 10;  // 10, 1, 0.1, 0.01
                       }},
                      {"b", [&] {
                         order += 'b';
                         return 2.0;
                       }}};
  const auto medians = MedianOfRounds("test", 3, arms);
  ASSERT_TRUE(medians.ok());
  EXPECT_EQ(order, "abababab");
  EXPECT_THAT(*medians, testing::ElementsAre(testing::DoubleEq(0.1), 2));
}

TEST(RoundsTest, AnArmsErrorEndsTheRounds) {
  int runs = 0;
  const Arm arms[] = {{"a", [&]() -> absl::StatusOr<double> {
                         return ++runs < 2 ? absl::StatusOr<double>(1.0)
                                           : absl::UnavailableError("gone");
                       }}};
  EXPECT_EQ(MedianOfRounds("test", 5, arms).status().message(), "gone");
  EXPECT_EQ(runs, 2);
}

}  // namespace
}  // namespace reprise::bench
