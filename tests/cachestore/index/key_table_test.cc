#include "cachestore/index/key_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <vector>

#include "tests/fakes/test_seed.h"

namespace reprise::cachestore {
namespace {

TEST(KeyTableTest, AgreesWithAMapUnderRandomInsertsAndErases) {
  std::mt19937_64 random(TestSeed());
  KeyTable table;
  std::map<BlockKey, BlockId> expected;
  std::vector<BlockKey> key_of;
  const auto lookup = [&](BlockId id) -> const BlockKey& { return key_of[id]; };
  for (int step = 0; step < 6000; ++step) {
    // Few different low bits: long probe runs, wrap-around and equal tags happen all the time.
    const BlockKey key = {random() % 8, (random() % 16) * 0x10000000u + random() % 601};
    const auto it = expected.find(key);
    ASSERT_EQ(table.Find(key, lookup), it == expected.end() ? kNoBlock : it->second);
    if (it == expected.end()) {
      key_of.push_back(key);
      const BlockId id = static_cast<BlockId>(key_of.size() - 1);
      table.Insert(key, id);
      expected[key] = id;
    } else {
      table.Erase(key, it->second);
      expected.erase(it);
    }
    ASSERT_EQ(table.size(), expected.size());
  }
  for (const auto& [key, id] : expected) EXPECT_EQ(table.Find(key, lookup), id);
}

TEST(KeyTableTest, KeysThatShareTheirStoredBitsAreToldApartByTheFullKey) {
  KeyTable table;
  const std::vector<BlockKey> keys = {{1, 5}, {2, 5}, {2, (uint64_t{9} << 32) | 5}};
  const auto lookup = [&](BlockId id) -> const BlockKey& { return keys[id]; };
  for (BlockId id = 0; id < keys.size(); ++id) table.Insert(keys[id], id);
  for (BlockId id = 0; id < keys.size(); ++id) EXPECT_EQ(table.Find(keys[id], lookup), id);
  EXPECT_EQ(table.Find({3, 5}, lookup), kNoBlock);
  EXPECT_NE(table.FindCandidate({3, 5}), kNoBlock) << "a candidate is only that";
}

TEST(KeyTableTest, ReserveKeepsTheContents) {
  KeyTable table;
  std::vector<BlockKey> keys;
  std::mt19937_64 random(7);
  for (BlockId id = 0; id < 1000; ++id) keys.push_back({random(), random()});
  const auto lookup = [&](BlockId id) -> const BlockKey& { return keys[id]; };
  for (BlockId id = 0; id < 500; ++id) table.Insert(keys[id], id);
  table.Reserve(100000);
  for (BlockId id = 500; id < 1000; ++id) table.Insert(keys[id], id);
  for (BlockId id = 0; id < 1000; ++id) ASSERT_EQ(table.Find(keys[id], lookup), id);
}

TEST(KeyTableTest, AWalkVisitsWhatStaysOnceAndWhatComesAndGoesAtMostOnce) {
  std::mt19937_64 random(TestSeed());
  // At random, and close together at the upper end, so that the last run goes on at the beginning.
  const auto random_key = [&]() -> BlockKey {
    return {random(), random() % 2 == 0 ? random() : 0xffffffff - random() % 40};
  };
  int64_t wrapped = 0;
  for (int round = 0; round < 50; ++round) {
    KeyTable table;
    std::vector<BlockKey> key_of;  // by id
    std::vector<BlockId> gone;
    for (BlockId id = 0; id < 300; ++id) {
      key_of.push_back(random_key());
      table.Insert(key_of[id], id);
    }
    std::vector<int> visits(key_of.size());
    uint64_t at = 0;
    for (uint64_t before = 0; at != KeyTable::kEnd; before = at) {
      at = table.VisitSome(at, 1 + random() % 20, [&](BlockId id) {
        ++visits[id];
        EXPECT_GE(static_cast<uint32_t>(key_of[id].lo), before);
        wrapped += static_cast<uint32_t>(key_of[id].lo) > 0xfffffff0;
      });
      ASSERT_GT(at, before);
      // The last third comes and goes, keeping ids; the table grows on the way.
      for (BlockId id = 200; id < 300; ++id) {
        const auto it = std::find(gone.begin(), gone.end(), id);
        if (random() % 4 != 0) continue;
        if (it == gone.end()) {
          table.Erase(key_of[id], id);
          gone.push_back(id);
        } else {
          table.Insert(key_of[id], id);
          gone.erase(it);
        }
      }
      if (random() % 4 == 0) table.Reserve(table.size() * 2);
    }
    for (size_t id = 0; id < visits.size(); ++id) {
      ASSERT_LE(visits[id], 1) << id;
      if (id < 200) {
        ASSERT_EQ(visits[id], 1) << id;
      }
    }
  }
  EXPECT_GT(wrapped, 50);
}

TEST(KeyTableTest, AStepOfAWalkLooksAtAboutAsManyEntriesAsItIsTold) {
  KeyTable table;
  std::mt19937_64 random(7);
  for (BlockId id = 0; id < 10'000; ++id) table.Insert({random(), random()}, id);
  uint64_t at = 0;
  int64_t visited = 0;
  for (int step = 0; step < 10; ++step) {
    at = table.VisitSome(at, 50, [&](BlockId) { ++visited; });
  }
  EXPECT_LT(at, KeyTable::kEnd / 5);
  EXPECT_GT(visited, 100);
  EXPECT_LT(visited, 1000);
}

}  // namespace
}  // namespace reprise::cachestore
