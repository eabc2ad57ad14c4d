#include "cachestore/policy/id_table.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <vector>

#include "tests/fakes/test_seed.h"

namespace reprise::cachestore {
namespace {

TEST(IdTableTest, ThingsStayWhereTheyAreAndIdsAreGivenAgainLastRemovedFirst) {
  std::mt19937_64 random(TestSeed());
  IdTable<uint64_t> table;
  std::map<uint32_t, std::pair<uint64_t*, uint64_t>> there;  // where each one is, and what
  std::vector<uint32_t> removed;
  for (int i = 0; i < 5'000; ++i) {
    if (random() % 3 > 0 || there.empty()) {
      const uint32_t expected = removed.empty() ? table.num_ids() : removed.back();
      const uint32_t id = table.Add();
      ASSERT_EQ(id, expected);
      if (!removed.empty()) removed.pop_back();
      ASSERT_EQ(table[id], 0u);
      table[id] = random();
      ASSERT_TRUE(there.try_emplace(id, &table[id], table[id]).second);
    } else {
      const auto gone = std::next(there.begin(), static_cast<int64_t>(random() % there.size()));
      removed.push_back(gone->first);
      table.Remove(gone->first);
      there.erase(gone);
    }
  }
  EXPECT_EQ(table.num_ids(), there.size() + removed.size());
  for (const auto& [id, thing] : there) {
    ASSERT_EQ(&table[id], thing.first);
    ASSERT_EQ(table[id], thing.second);
  }
}

}  // namespace
}  // namespace reprise::cachestore
