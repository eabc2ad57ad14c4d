#include "cachestore/policy/ghost_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <list>
#include <random>
#include <utility>

#include "tests/fakes/test_seed.h"

namespace reprise::cachestore {
namespace {

BlockKey KeyOf(uint64_t number) { return {.hi = 0, .lo = number}; }

// The same by a list of places, which it goes through for everything.
class SlowTable {
 public:
  explicit SlowTable(size_t capacity) : capacity_(capacity) {}
  void set_capacity(size_t capacity) { capacity_ = capacity; }

  Ghost* Find(uint64_t key) {
    for (auto& [its, ghost] : places_) {
      if (its == key && ghost.group != kNoGroup) return &ghost;
    }
    return nullptr;
  }
  std::vector<GroupId> Add(uint64_t key, const Ghost& ghost) {
    std::vector<GroupId> forgotten;
    const GroupId before = Take(key);
    while (places_.size() >= capacity_ && forgotten.size() < 2) {
      if (places_.front().second.group != kNoGroup) {
        forgotten.push_back(places_.front().second.group);
      }
      places_.pop_front();
    }
    places_.emplace_back(key, ghost);
    if (before != kNoGroup) forgotten.push_back(before);
    return forgotten;
  }
  GroupId Take(uint64_t key) {
    Ghost* const ghost = Find(key);
    return ghost == nullptr ? kNoGroup : std::exchange(ghost->group, kNoGroup);
  }
  size_t size() const {
    return static_cast<size_t>(std::count_if(places_.begin(), places_.end(), [](const auto& place) {
      return place.second.group != kNoGroup;
    }));
  }

 private:
  size_t capacity_;
  std::list<std::pair<uint64_t, Ghost>> places_;
};

TEST(GhostTableTest, RemembersForgetsAndGivesBackAsAListDoes) {
  std::mt19937_64 random(TestSeed());
  GhostTable table(16);
  SlowTable slow(16);
  for (uint32_t i = 0; i < 20'000; ++i) {
    const uint64_t key = random() % 48;
    const Ghost* const found = table.Find(KeyOf(key));
    const Ghost* const known = slow.Find(key);
    ASSERT_EQ(found == nullptr ? kNoGroup : found->group,
              known == nullptr ? kNoGroup : known->group);
    if (found != nullptr) {
      ASSERT_EQ(found->uses, known->uses);
      ASSERT_EQ(found->since, known->since);
    }
    if (random() % 3 == 0) {
      const std::optional<Ghost> taken = table.Take(KeyOf(key));
      ASSERT_EQ(taken.has_value() ? taken->group : kNoGroup, slow.Take(key));
    } else {
      const Ghost ghost = {.group = i,
                           .uses = static_cast<uint16_t>(i),
                           .since = static_cast<uint16_t>(i / 3)};
      std::vector<GroupId> forgotten;
      for (const Ghost& its : table.Add(KeyOf(key), ghost)) forgotten.push_back(its.group);
      ASSERT_EQ(forgotten, slow.Add(key, ghost));
    }
    ASSERT_EQ(table.size(), slow.size());
    if (random() % 100 != 0) continue;
    const size_t capacity = 1 + random() % 32;
    table.set_capacity(capacity);
    slow.set_capacity(capacity);
  }
}

}  // namespace
}  // namespace reprise::cachestore
