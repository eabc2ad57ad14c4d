#include "cachestore/index/key_table.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <vector>

namespace reprise::cachestore {
namespace {

TEST(KeyTableTest, AgreesWithAMapUnderRandomInsertsAndErases) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
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

}  // namespace
}  // namespace reprise::cachestore
