#include "cachestore/memory/memory_map.h"

#include <gtest/gtest.h>

#include <array>

namespace reprise::cachestore {
namespace {

using Kind = MemoryMap::Kind;

class MemoryMapTest : public ::testing::Test {
 protected:
  std::array<std::byte, 100> memory_ = {};
  std::byte* const at_ = memory_.data();
  MemoryMap map_;
};

TEST_F(MemoryMapTest, TellsWhereBytesLieOnlyWhenAllOfThemDo) {
  map_.Add({at_ + 10, 20}, Kind::kHost);
  map_.Add({at_ + 40, 10}, Kind::kDevice);
  EXPECT_EQ(map_.KindOf(at_ + 10, 20), Kind::kHost);
  EXPECT_EQ(map_.KindOf(at_ + 29, 1), Kind::kHost);
  EXPECT_EQ(map_.KindOf(at_ + 45, 5), Kind::kDevice);
  EXPECT_EQ(map_.KindOf(at_ + 9, 2), std::nullopt);
  EXPECT_EQ(map_.KindOf(at_ + 29, 2), std::nullopt);
  EXPECT_EQ(map_.KindOf(at_ + 30, 1), std::nullopt);
  EXPECT_EQ(map_.KindOf(at_ + 29, 12), std::nullopt) << "a hole lies between";
  EXPECT_EQ(map_.KindOf(at_ + 99, 1), std::nullopt);
}

TEST_F(MemoryMapTest, PiecesThatTouchAreOneRangeOfOneKindWithAnEdge) {
  map_.Add({at_ + 10, 20}, Kind::kHost);
  map_.Add({at_ + 30, 20}, Kind::kHost);
  map_.Add({at_ + 50, 10}, Kind::kDevice);
  EXPECT_EQ(map_.KindOf(at_ + 10, 40), Kind::kHost);
  EXPECT_EQ(map_.KindOf(at_ + 45, 6), std::nullopt) << "of two kinds";
  EXPECT_EQ(map_.BytesToEdge(at_ + 10), 20u);
  EXPECT_EQ(map_.BytesToEdge(at_ + 29), 1u);
  EXPECT_EQ(map_.BytesToEdge(at_ + 30), 20u);
}

TEST_F(MemoryMapTest, RemovedPiecesAreGone) {
  map_.Add({at_ + 10, 20}, Kind::kHost);
  map_.Add({at_ + 30, 20}, Kind::kHost);
  map_.Remove(at_ + 10);
  EXPECT_EQ(map_.KindOf(at_ + 10, 1), std::nullopt);
  EXPECT_EQ(map_.KindOf(at_ + 30, 20), Kind::kHost);
  map_.Add({at_ + 10, 5}, Kind::kDevice);
  EXPECT_EQ(map_.KindOf(at_ + 10, 5), Kind::kDevice);
}

TEST_F(MemoryMapTest, PiecesNeverOverlap) {
  map_.Add({at_ + 10, 20}, Kind::kHost);
  EXPECT_TRUE(map_.Overlaps(at_, 11));
  EXPECT_TRUE(map_.Overlaps(at_ + 29, 1));
  EXPECT_TRUE(map_.Overlaps(at_, 100));
  EXPECT_FALSE(map_.Overlaps(at_, 10));
  EXPECT_FALSE(map_.Overlaps(at_ + 30, 10));
  EXPECT_DEATH(map_.Add({at_ + 29, 2}, Kind::kHost), "Overlaps");
  EXPECT_DEATH(map_.Remove(at_ + 11), "erase");
}

}  // namespace
}  // namespace reprise::cachestore
