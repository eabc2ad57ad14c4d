#include "cachestore/policy/order_contest.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/fakes/test_seed.h"

namespace reprise::cachestore {
namespace {

constexpr size_t kRoom = 100;

void Add(OrderContest& contest, int rounds, size_t model_hits, size_t lru_hits) {
  for (int i = 0; i < rounds; ++i) {
    contest.Add({.lookups = 4, .model_hits = model_hits, .lru_hits = lru_hits}, kRoom);
  }
}

TEST(OrderContestTest, LruWinsWhereItLeadsAndLosesWhereItLeadsNoMore) {
  OrderContest contest;
  Add(contest, 1000, 3, 2);
  EXPECT_FALSE(contest.lru_is_better());
  Add(contest, 1000, 2, 3);
  EXPECT_TRUE(contest.lru_is_better());
  Add(contest, 1000, 3, 2);
  EXPECT_FALSE(contest.lru_is_better());
}

TEST(OrderContestTest, AFewLookupsDecideNothing) {
  OrderContest contest;
  Add(contest, 5, 0, 4);
  EXPECT_FALSE(contest.lru_is_better());
}

// In how many rounds of a walk by chance LRU is said to be better.
int RoundsDecidedByChance(uint32_t seed, int rounds) {
  std::mt19937 random(seed);
  OrderContest contest;
  int decided = 0;
  for (int i = 0; i < rounds; ++i) {
    const bool lru_leads = random() % 2 == 0;
    Add(contest, 1, lru_leads ? 1 : 2, lru_leads ? 2 : 1);
    decided += contest.lru_is_better() ? 1 : 0;
  }
  return decided;
}

TEST(OrderContestTest, ChanceDecidesNothing) {
  for (const uint32_t seed : {1, 2, 3, 4, 5}) EXPECT_EQ(RoundsDecidedByChance(seed, 20'000), 0);
}

// Of all walks, one in two hundred comes to three standard deviations, for some hundred rounds: a
// share of 0.00008 of all rounds. With one standard deviation it would be 0.07.
TEST(OrderContestTest, OfAllWalksChanceDecidesNextToNothing) {
  constexpr int kContests = 20;
  constexpr int kRounds = 20'000;
  std::mt19937 random(TestSeed());
  int decided = 0;
  for (int i = 0; i < kContests; ++i) decided += RoundsDecidedByChance(random(), kRounds);
  EXPECT_LT(decided, kContests * kRounds / 100);
}

}  // namespace
}  // namespace reprise::cachestore
