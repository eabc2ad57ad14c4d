#include "tests/engine/model/greedy_variety.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace reprise::engine {
namespace {

using ::testing::HasSubstr;

std::vector<uint32_t> Varied() {
  std::vector<uint32_t> tokens;
  for (uint32_t i = 0; i < 200; ++i) tokens.push_back(i * i % 101);
  return tokens;
}

TEST(GreedyVarietyTest, VariedTextIsGood) { EXPECT_TRUE(CheckVariety(Varied()).ok()); }

TEST(GreedyVarietyTest, FewDistinctTokensAreACollapse) {
  std::vector<uint32_t> tokens = Varied();
  for (uint32_t& token : tokens) token %= 19;
  const absl::Status status = CheckVariety(tokens);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("distinct"));
}

TEST(GreedyVarietyTest, ShortPeriodsAreACollapseLongOnesAreNot) {
  for (size_t period = 1; period <= 5; ++period) {
    std::vector<uint32_t> tokens = Varied();
    for (size_t i = 100; i < 116; ++i) tokens[i] = 1000 + i % period;
    const absl::Status status = CheckVariety(tokens);
    EXPECT_EQ(status.ok(), period == 5) << period;
    if (period < 5) {
      EXPECT_THAT(std::string(status.message()), HasSubstr("from token 100 on"));
    }
    // One token less is not yet a collapse.
    tokens[115] = 7;
    EXPECT_TRUE(CheckVariety(tokens).ok()) << period;
  }
}

}  // namespace
}  // namespace reprise::engine
