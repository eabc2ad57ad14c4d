#include "cachestore/index/node_arena.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <random>

#include "tests/fakes/test_seed.h"

namespace reprise::cachestore {
namespace {

TEST(NodeArenaTest, NodesOfSeveralSizesNeverOverlapAndNeverMove) {
  std::mt19937 random(TestSeed());
  NodeArena arena;
  struct Place {
    size_t bytes;
    std::byte* memory;
  };
  std::map<BlockId, Place> places;
  const auto holds_its_id = [](BlockId id, const Place& place) {
    for (size_t i = 0; i + 4 <= place.bytes; i += 4) {
      if (std::memcmp(place.memory + i, &id, 4) != 0) return false;
    }
    return true;
  };
  for (int step = 0; step < 120000; ++step) {
    if (random() % 4 != 0 || places.empty()) {
      const size_t bytes = 64 + random() % 3 * 40;
      const BlockId id = arena.Allocate(bytes);
      std::byte* memory = arena.at(id);
      ASSERT_EQ(reinterpret_cast<uintptr_t>(memory) % NodeArena::kAlignment, 0u);
      ASSERT_TRUE(places.emplace(id, Place{bytes, memory}).second);
      for (size_t i = 0; i + 4 <= bytes; i += 4) std::memcpy(memory + i, &id, 4);
    } else {
      const auto victim = places.lower_bound(random() % (places.rbegin()->first + 1));
      ASSERT_TRUE(holds_its_id(victim->first, victim->second));
      arena.Free(victim->first);
      places.erase(victim);
    }
  }
  for (const auto& [id, place] : places) {
    ASSERT_EQ(arena.at(id), place.memory);
    ASSERT_TRUE(holds_its_id(id, place));
  }
  EXPECT_GT(arena.num_ranges(), 30u) << "the test is too small for ranges in many chunks";
}

TEST(NodeArenaTest, FreedIdsAreUsedAgainForTheSameSizeOnly) {
  NodeArena arena;
  const BlockId small = arena.Allocate(64);
  arena.Free(small);
  EXPECT_NE(arena.Allocate(128), small);
  EXPECT_EQ(arena.Allocate(64), small);
}

TEST(NodeArenaTest, MemoryFollowsTheBytesOfTheNodes) {
  // A block of one token, one of 16, and the largest one.
  for (const size_t bytes : {size_t{68}, size_t{128}, size_t{64 + 4 * 4096}}) {
    NodeArena arena;
    for (size_t count = 1; count <= 2000; ++count) {
      arena.Allocate(bytes);
      const size_t used = count * ((bytes + 63) / 64 * 64);
      ASSERT_GE(arena.memory_bytes(), used);
      ASSERT_LE(arena.memory_bytes(), 3 * used + (size_t{64} << 10)) << count << " of " << bytes;
    }
  }
}

// Arrays by id must not be many times the nodes.
TEST(NodeArenaTest, IdsAreDenseWhateverTheSize) {
  // Blocks of 16, 64 and 512 tokens.
  for (const size_t bytes : {size_t{128}, size_t{64 + 4 * 64}, size_t{64 + 4 * 512}}) {
    NodeArena arena;
    BlockId highest = 0;
    for (int i = 0; i < 50000; ++i) highest = std::max(highest, arena.Allocate(bytes));
    EXPECT_LT(highest, 50000 * 6 / 5) << bytes;
  }
}

TEST(NodeArenaTest, TheRangesCoverEveryIdHandedOut) {
  NodeArena arena;
  for (const size_t bytes : {64u, 128u}) {
    for (int i = 0; i < 20000; ++i) {
      const BlockId id = arena.Allocate(bytes);
      bool covered = false;
      for (size_t range = 0; range < arena.num_ranges(); ++range) {
        covered |= arena.first_id(range) <= id && id < arena.end_id(range);
      }
      ASSERT_TRUE(covered);
    }
  }
}

}  // namespace
}  // namespace reprise::cachestore
