#include "engine/backend/cuda/prefix_groups.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <set>
#include <vector>

namespace reprise::engine::cuda {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;

constexpr int32_t kBlockTokens = 16;
constexpr int32_t kStride = 1024;

// Sequences of blocks, some of which are other sequences' blocks.
class Tables {
 public:
  // A sequence of `length` tokens whose first `shared` lie in the blocks of `sharer`, another one.
  int32_t Add(int32_t length, int32_t sharer = 0, int32_t shared = 0) {
    const auto sequence = static_cast<int32_t>(rows_.size());
    rows_.push_back({sequence, length});
    table_.resize(rows_.size() * kStride, 0xFFFFFFF0u);
    for (int32_t b = 0; b < (length + kBlockTokens - 1) / kBlockTokens; ++b) {
      const bool is_shared = sharer != sequence && b < shared / kBlockTokens;
      entry(sequence, b) = is_shared ? entry(sharer, b) : ++last_;
    }
    return sequence;
  }
  uint32_t& entry(int32_t sequence, int32_t b) { return table_[sequence * kStride + b]; }
  const std::vector<AttentionRow>& rows() const { return rows_; }

  std::vector<PrefixGroup> Find() const {
    return FindPrefixGroups(rows_, table_.data(), kStride, kBlockTokens);
  }

 private:
  uint32_t last_ = 0;
  std::vector<uint32_t> table_;
  std::vector<AttentionRow> rows_;
};

TEST(PrefixGroupsTest, RowsThatShareFourBlocksOfTilesAreAGroup) {
  Tables tables;
  for (const int length : {1000, 600, 900, 577}) tables.Add(length, 0, 576);
  tables.Add(1000);
  const auto groups = tables.Find();
  ASSERT_THAT(groups, SizeIs(1));
  EXPECT_THAT(groups[0].rows, ElementsAre(0, 1, 2, 3));
  EXPECT_EQ(groups[0].positions, 576);
}

TEST(PrefixGroupsTest, TooFewRowsOrPositionsAreNone) {
  Tables few_rows;
  for (int i = 0; i < 3; ++i) few_rows.Add(2000, 0, 1600);
  EXPECT_THAT(few_rows.Find(), IsEmpty());
  Tables few_positions;
  for (int i = 0; i < 8; ++i) few_positions.Add(2000, 0, 496);
  EXPECT_THAT(few_positions.Find(), IsEmpty());
  EXPECT_THAT(Tables().Find(), IsEmpty());
}

// A row keeps a position of its own, even where its whole table is another row's.
TEST(PrefixGroupsTest, TheLastPositionIsTheRowsOwn) {
  Tables tables;
  for (const int length : {640, 640, 640, 640}) tables.Add(length, 0, 640);
  const auto groups = tables.Find();
  ASSERT_THAT(groups, SizeIs(1));
  EXPECT_EQ(groups[0].positions, 576);
}

// One entry that differs ends the prefix, equal entries behind it or not.
TEST(PrefixGroupsTest, ADifferentEntryEndsThePrefix) {
  Tables tables;
  for (int i = 0; i < 5; ++i) tables.Add(2000, 0, 1920);
  tables.entry(2, 70) = 0xABCDEF;
  const auto groups = tables.Find();
  ASSERT_THAT(groups, SizeIs(1));
  EXPECT_THAT(groups[0].rows, ElementsAre(0, 1, 3, 4));
  EXPECT_EQ(groups[0].positions, 1920);
}

// 16 rows share 512 positions, and twice four of them 8,704: those save more apart. Where 16 share
// 2,048, and four of them 2,560, all together do.
TEST(PrefixGroupsTest, WhatSavesMoreIsTaken) {
  Tables apart;
  for (int i = 0; i < 16; ++i) {
    const bool is_longer = i < 8 && i % 4 != 0;
    apart.Add(9000, is_longer ? i / 4 * 4 : 0, is_longer ? 8704 : 512);
  }
  const auto pairs = apart.Find();
  ASSERT_THAT(pairs, SizeIs(2));
  EXPECT_THAT((std::vector<std::vector<int32_t>>{pairs[0].rows, pairs[1].rows}),
              UnorderedElementsAre(ElementsAre(0, 1, 2, 3), ElementsAre(4, 5, 6, 7)));
  EXPECT_EQ(pairs[0].positions, 8704);

  Tables together;
  for (int i = 0; i < 16; ++i) together.Add(3000, 0, i < 4 ? 2560 : 2048);
  const auto all = together.Find();
  ASSERT_THAT(all, SizeIs(1));
  EXPECT_THAT(all[0].rows, SizeIs(16));
  EXPECT_EQ(all[0].positions, 2048);
}

TEST(PrefixGroupsTest, RandomGroupsAreDisjointAndReallyShared) {
  std::mt19937 random(3);
  size_t found = 0;
  for (int i = 0; i < 200; ++i) {
    Tables tables;
    const int count = 1 + static_cast<int>(random() % 40);
    for (int r = 0; r < count; ++r) {
      const auto length = 1 + static_cast<int32_t>(random() % 4000);
      const int32_t sharer = r == 0 ? 0 : static_cast<int32_t>(random() % std::min(r, 3));
      const int32_t most = r == 0 ? 0 : std::min(length, tables.rows()[sharer].length);
      tables.Add(length, sharer, static_cast<int32_t>(random() % (most + 1)));
    }
    std::set<int32_t> seen;
    for (const PrefixGroup& group : tables.Find()) {
      ++found;
      EXPECT_GE(group.rows.size(), kLeastGroupRows);
      EXPECT_GE(group.positions, kLeastGroupPositions);
      EXPECT_EQ(group.positions % kGroupPositions, 0);
      for (const int32_t row : group.rows) {
        EXPECT_TRUE(seen.insert(row).second) << "row " << row << " is in two groups";
        EXPECT_LT(group.positions, tables.rows()[row].length);
        for (int32_t b = 0; b < group.positions / kBlockTokens; ++b) {
          ASSERT_EQ(tables.entry(row, b), tables.entry(group.rows[0], b));
        }
      }
    }
  }
  EXPECT_GT(found, 50u);
}

}  // namespace
}  // namespace reprise::engine::cuda
