#include "cachestore/policy/ranked_sets.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <tuple>
#include <vector>

#include "tests/fakes/test_seed.h"

namespace reprise::cachestore {
namespace {

constexpr CandidateSet kNumSets = 3;
constexpr uint64_t kNumGroups = 40;
constexpr uint32_t kNumDepths = 6;

// A set is what stands in order: level, group, the deepest first, the highest id first.
using Place = std::tuple<uint16_t, uint64_t, int64_t, int64_t>;

BlockId IdOf(const Place& place) { return static_cast<BlockId>(-std::get<3>(place)); }

std::vector<BlockId> InOrder(const RankedSets& sets, CandidateSet set) {
  std::vector<BlockId> ids;
  sets.Visit(set, [&](BlockId id) {
    ids.push_back(id);
    return true;
  });
  return ids;
}

TEST(RankedSetsTest, BlocksGoAsASortedListHasThem) {
  std::mt19937_64 random(TestSeed());
  RankedSets sets;
  std::vector<std::set<Place>> slow(kNumSets);
  std::vector<uint16_t> levels(kNumGroups);
  const auto blocks_of = [&](CandidateSet set, uint64_t group) {
    const auto from = slow[set].lower_bound({levels[group], group, INT64_MIN, INT64_MIN});
    const auto to = slow[set].lower_bound({levels[group], group + 1, INT64_MIN, INT64_MIN});
    return std::vector<Place>(from, to);
  };
  for (int i = 0; i < 20'000; ++i) {
    const auto set = static_cast<CandidateSet>(random() % kNumSets);
    const uint64_t group = random() % kNumGroups;
    if (random() % 8 == 0) {
      const auto level = static_cast<uint16_t>(random() % 5);
      for (CandidateSet its = 0; its < kNumSets; ++its) {
        const std::vector<Place> blocks = blocks_of(its, group);
        if (!blocks.empty()) sets.Move(its, {levels[group], group}, level);
        for (const Place& place : blocks) slow[its].erase(place);
        for (Place place : blocks) {
          std::get<0>(place) = level;
          slow[its].insert(place);
        }
      }
      levels[group] = level;
    } else {
      const auto depth = static_cast<uint32_t>(random() % kNumDepths);
      const auto id = static_cast<BlockId>(kNumDepths * group + depth + random() % 2 * 1000);
      const size_t others = blocks_of(set, group).size();
      const Place place = {levels[group], group, -int64_t{depth}, -int64_t{id}};
      if (slow[set].insert(place).second) {
        ASSERT_EQ(sets.Insert(set, {levels[group], group}, depth, id), others == 0);
      } else {
        slow[set].erase(place);
        ASSERT_EQ(sets.Erase(set, {levels[group], group}, depth, id), others == 1);
      }
    }
    ASSERT_EQ(sets.size(set), slow[set].size());
    ASSERT_EQ(sets.Best(set), slow[set].empty() ? kNoBlock : IdOf(*slow[set].begin()));
    if (i % 50 != 0) continue;
    std::vector<BlockId> expected;
    for (const Place& place : slow[set]) expected.push_back(IdOf(place));
    ASSERT_EQ(InOrder(sets, set), expected);
  }
}

}  // namespace
}  // namespace reprise::cachestore
