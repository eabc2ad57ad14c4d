#include "cachestore/pool/slot_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "tests/fakes/test_seed.h"

namespace reprise::cachestore {
namespace {

constexpr size_t kUnit = SlotPool::kUnitBytes;

class SlotPoolTest : public ::testing::Test {
 protected:
  absl::Span<std::byte> Region(size_t units) {
    memory_.resize((units + 1) * kUnit);
    const auto address = reinterpret_cast<uintptr_t>(memory_.data());
    return {memory_.data() + (kUnit - address % kUnit) % kUnit, units * kUnit};
  }

  std::vector<std::byte> memory_;
};

TEST_F(SlotPoolTest, OneBlockSizeFillsTheRegionExactly) {
  for (const size_t units : {1u, 7u, 64u, 1000u}) {
    for (const size_t slot_units : {1u, 3u, 7u}) {
      SlotPool pool(Region(units));
      std::vector<SlotIndex> slots;
      while (const auto slot = pool.Allocate(slot_units * kUnit)) slots.push_back(*slot);
      EXPECT_EQ(slots.size(), units / slot_units);
      EXPECT_EQ(pool.CapacitySlots(slot_units * kUnit), static_cast<int64_t>(units / slot_units));
      EXPECT_LE(pool.used_bytes(), pool.capacity_bytes());
      EXPECT_FALSE(pool.CanAllocate(slot_units * kUnit));
      for (const SlotIndex slot : slots) pool.Free(slot);
      EXPECT_EQ(pool.used_bytes(), 0);
      EXPECT_EQ(pool.used_slots(), 0);
    }
  }
}

TEST_F(SlotPoolTest, ABlockTakesWholeUnits) {
  EXPECT_EQ(SlotPool::SlotBytes(1), kUnit);
  EXPECT_EQ(SlotPool::SlotBytes(kUnit), kUnit);
  EXPECT_EQ(SlotPool::SlotBytes(kUnit + 1), 2 * kUnit);
}

TEST_F(SlotPoolTest, AnEmptySlabServesAnotherSize) {
  SlotPool pool(Region(8));
  std::vector<SlotIndex> small;
  while (const auto slot = pool.Allocate(kUnit)) small.push_back(*slot);
  ASSERT_EQ(small.size(), 8u);
  EXPECT_FALSE(pool.CanAllocate(8 * kUnit));
  for (size_t i = 0; i + 1 < small.size(); ++i) pool.Free(small[i]);
  EXPECT_FALSE(pool.CanAllocate(8 * kUnit)) << "one small slot is still used";
  pool.Free(small.back());
  const auto large = pool.Allocate(8 * kUnit);
  ASSERT_TRUE(large.has_value());
  EXPECT_EQ(pool.SlotMemory(*large).size(), 8 * kUnit);
}

TEST_F(SlotPoolTest, TheSlotsInTheWayOfALargerBlockReachIntoNeighbouringSlabs) {
  SlotPool pool(Region(64));  // slabs of 8 units
  std::vector<SlotIndex> small;
  while (const auto slot = pool.Allocate(kUnit)) small.push_back(*slot);
  ASSERT_EQ(small.size(), 64u);
  ASSERT_EQ(pool.num_slabs(), 8u);
  for (const SlotIndex slot : {small[0], small[20], small[63]}) {
    std::vector<SlotIndex> in_the_way = pool.SlotsInTheWay(slot, 20 * kUnit);
    EXPECT_EQ(in_the_way.size(), 24u) << "three slabs";
    EXPECT_EQ(std::count(in_the_way.begin(), in_the_way.end(), slot), 1);
    EXPECT_FALSE(pool.CanAllocate(20 * kUnit));
    for (const SlotIndex used : in_the_way) pool.Free(used);
    const auto large = pool.Allocate(20 * kUnit);
    ASSERT_TRUE(large.has_value());
    pool.Free(*large);
    for (size_t i = 0; i < in_the_way.size(); ++i) ASSERT_TRUE(pool.Allocate(kUnit).has_value());
  }
}

TEST_F(SlotPoolTest, ABlockFindsNoRoomAcrossSlabsOfItsOwnSize) {
  SlotPool pool(Region(24));  // slabs of 3 units
  std::vector<SlotIndex> small;
  for (int i = 0; i < 6; ++i) small.push_back(*pool.Allocate(kUnit));
  while (pool.Allocate(6 * kUnit).has_value()) {
  }
  ASSERT_FALSE(pool.CanAllocate(6 * kUnit));
  EXPECT_EQ(pool.SlotsInTheWay(small[0], 6 * kUnit).size(), 6u);
  EXPECT_TRUE(pool.SlotsInTheWay(small[0], 12 * kUnit).size() == 0u ||
              pool.SlotsInTheWay(small[0], 12 * kUnit).size() == 7u);
  EXPECT_TRUE(pool.SlotsInTheWay(small[0], 25 * kUnit).empty()) << "larger than the region";
}

TEST_F(SlotPoolTest, TheWalkOverSlabsComesToEachOneInTurn) {
  SlotPool pool(Region(64));
  uint32_t cursor = 0;
  EXPECT_EQ(pool.NextSlab(&cursor), kNoSlot);
  const SlotIndex a = *pool.Allocate(kUnit);
  const SlotIndex b = *pool.Allocate(2 * kUnit);
  const SlotIndex c = *pool.Allocate(4 * kUnit);
  std::vector<SlotIndex> seen;
  for (int i = 0; i < 6; ++i) seen.push_back(pool.NextSlab(&cursor));
  EXPECT_EQ(std::set<SlotIndex>(seen.begin(), seen.begin() + 3), (std::set<SlotIndex>{a, b, c}));
  EXPECT_TRUE(std::equal(seen.begin(), seen.begin() + 3, seen.begin() + 3));
}

TEST_F(SlotPoolTest, ASlabHoldsFewSlotsSoThatItEmptiesSoon) {
  SlotPool pool(Region(2048));
  const SlotIndex first = *pool.Allocate(kUnit);
  while (pool.Allocate(kUnit).has_value()) {
  }
  EXPECT_LE(pool.SlotsInTheWay(first, 2 * kUnit).size(), 64u);
}

TEST_F(SlotPoolTest, RandomSizesNeverOverlapAndNeverExceedTheRegion) {
  std::mt19937 random(TestSeed());
  const absl::Span<std::byte> region = Region(300);
  SlotPool pool(region);
  std::map<SlotIndex, uint32_t> units_of;
  bool refused = false;
  for (int step = 0; step < 20000; ++step) {
    // More come than go: the region is full soon, and most of the time.
    if (random() % 5 < 3 || units_of.empty()) {
      const uint32_t units = 1 + random() % 3 * 4;
      const bool can = pool.CanAllocate(units * kUnit);
      const auto slot = pool.Allocate(units * kUnit);
      ASSERT_EQ(slot.has_value(), can);
      refused |= !can;
      if (!can) continue;
      const auto after = units_of.lower_bound(*slot);
      ASSERT_TRUE(after == units_of.end() || *slot + units <= after->first);
      ASSERT_TRUE(after == units_of.begin() ||
                  std::prev(after)->first + std::prev(after)->second <= *slot);
      ASSERT_LE((*slot + units) * kUnit, region.size());
      units_of[*slot] = units;
    } else {
      const auto victim = std::next(units_of.begin(), random() % units_of.size());
      pool.Free(victim->first);
      units_of.erase(victim);
    }
    int64_t units = 0;
    for (const auto& [slot, count] : units_of) units += count;
    ASSERT_EQ(pool.used_bytes(), units * static_cast<int64_t>(kUnit));
  }
  EXPECT_TRUE(refused);
  for (const auto& [slot, count] : units_of) pool.Free(slot);
  EXPECT_TRUE(pool.CanAllocate(300 * kUnit)) << "free extents are joined again";
}

TEST_F(SlotPoolTest, WhatAnOwnerHasGoesAlongIntoItsGroup) {
  SlotPool pool(Region(64));
  const auto units_of = [&](uint32_t group) {
    return pool.used_bytes_of_group(group) / static_cast<int64_t>(kUnit);
  };
  const auto slot = pool.Allocate(3 * kUnit, 1);
  ASSERT_TRUE(slot.has_value() && pool.Allocate(kUnit, 2) && pool.Allocate(kUnit, 3));
  EXPECT_EQ(units_of(0), 5);
  EXPECT_EQ(units_of(7), 0);
  pool.Join(1, 7);
  pool.Join(2, 7);
  pool.Join(4, 7);
  EXPECT_EQ(units_of(0), 1);
  EXPECT_EQ(units_of(7), 4);
  pool.Free(*slot);
  ASSERT_TRUE(pool.Allocate(2 * kUnit, 4));
  EXPECT_EQ(units_of(7), 3);
  pool.Join(2, 6);
  EXPECT_EQ(units_of(7), 2);
  EXPECT_EQ(units_of(6), 1);
  EXPECT_EQ(pool.used_bytes_of(2), static_cast<int64_t>(kUnit));
}

TEST_F(SlotPoolTest, FreeingTwiceEndsTheProcess) {
  SlotPool pool(Region(8));
  const SlotIndex slot = *pool.Allocate(kUnit);
  pool.Allocate(kUnit);
  pool.Free(slot);
  EXPECT_DEATH(pool.Free(slot), "CHECK failed");
}

}  // namespace
}  // namespace reprise::cachestore
