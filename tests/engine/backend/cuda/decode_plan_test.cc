#include "engine/backend/cuda/decode_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <random>
#include <vector>

namespace reprise::engine::cuda {
namespace {

// Every tile that a row sees is in one segment, segments of a row and head tile follow each other,
// and their states are theirs alone.
void ExpectCovers(const DecodePlan& plan, const std::vector<AttentionRow>& rows, int head_tiles,
                  int32_t window) {
  size_t at = 0;
  int64_t next_state = 0;
  for (size_t r = 0; r < rows.size(); ++r) {
    for (int head_tile = 0; head_tile < head_tiles; ++head_tile) {
      int32_t tile = std::max(0, rows[r].length - window) / kDecodeTile;
      const int32_t end = (rows[r].length + kDecodeTile - 1) / kDecodeTile;
      for (int32_t piece = 0; tile < end; ++piece, ++at) {
        ASSERT_LT(at, plan.segments.size());
        const DecodeSegment& segment = plan.segments[at];
        EXPECT_EQ(segment.row, static_cast<int32_t>(r));
        EXPECT_EQ(segment.head_tile, head_tile);
        EXPECT_EQ(segment.tile_begin, tile);
        EXPECT_GT(segment.tile_end, tile);
        EXPECT_EQ(segment.piece, piece);
        EXPECT_LE(segment.pieces, kMaxPieces);
        if (segment.pieces > 1) {
          EXPECT_EQ(segment.first_state, next_state);
        }
        tile = segment.tile_end;
        if (tile >= end) {
          EXPECT_EQ(segment.pieces, piece + 1);
          if (segment.pieces > 1) next_state += segment.pieces;
        }
      }
      EXPECT_EQ(tile, end);
    }
  }
  EXPECT_EQ(at, plan.segments.size());
  EXPECT_EQ(plan.num_states, next_state);
}

// Tiles, with what segments cost, of the block that has most.
int64_t LargestShare(const DecodePlan& plan) {
  int64_t largest = 0;
  for (size_t b = 0; b + 1 < plan.first_segment.size(); ++b) {
    int64_t share = 0;
    for (int32_t i = plan.first_segment[b]; i < plan.first_segment[b + 1]; ++i) {
      share += plan.segments[i].tile_end - plan.segments[i].tile_begin + kSegmentCost;
    }
    largest = std::max(largest, share);
  }
  return largest;
}

int64_t TotalTiles(const std::vector<AttentionRow>& rows, int head_tiles) {
  int64_t total = 0;
  for (const AttentionRow& row : rows) {
    total += head_tiles * ((row.length + kDecodeTile - 1) / kDecodeTile + kSegmentCost);
  }
  return total;
}

TEST(DecodePlanTest, RandomBatchesAreCoveredExactly) {
  std::mt19937 random(5);
  for (int i = 0; i < 300; ++i) {
    std::vector<AttentionRow> rows(1 + random() % 40);
    for (AttentionRow& row : rows) row.length = 1 + static_cast<int32_t>(random() % 3000);
    const int head_tiles = 1 + static_cast<int>(random() % 9);
    const int num_blocks = 1 + static_cast<int>(random() % 400);
    const int32_t window = i % 3 == 0 ? 1 + static_cast<int32_t>(random() % 2000) : kNoWindow;
    const DecodePlan plan = PlanDecode(rows, head_tiles, window, num_blocks);
    ASSERT_EQ(plan.first_segment.size(), num_blocks + 1u);
    EXPECT_TRUE(std::is_sorted(plan.first_segment.begin(), plan.first_segment.end()));
    EXPECT_EQ(plan.first_segment.back(), static_cast<int32_t>(plan.segments.size()));
    ExpectCovers(plan, rows, head_tiles, window);
    EXPECT_LE(std::ssize(plan.segments), plan.most_segments);
    for (AttentionRow& row : rows) row.length = 77;
    EXPECT_EQ(PlanDecode(rows, head_tiles, window, num_blocks).most_segments, plan.most_segments);
  }
}

// One row of 32,768 tokens beside 63 of 1,000: nobody waits for the block that has the long one.
TEST(DecodePlanTest, SkewedLengthsAreSharedEvenly) {
  std::vector<AttentionRow> rows(64);
  for (AttentionRow& row : rows) row.length = 1000;
  rows[20].length = 32768;
  constexpr int kBlocks = 264;
  const DecodePlan plan = PlanDecode(rows, 8, kNoWindow, kBlocks);
  const int64_t mean = TotalTiles(rows, 8) / kBlocks;
  EXPECT_LE(LargestShare(plan), mean + kSegmentCost + 1);
}

// Rows of which others see 1,024 positions are cut as if they began there.
TEST(DecodePlanTest, PositionsThatOthersSeeAreLeftOut) {
  const std::vector<AttentionRow> rows = {{0, 1100}, {1, 700}, {2, 1025}};
  const std::vector<int32_t> prefixes = {1024, 0, 1024};
  const DecodePlan plan = PlanDecode(rows, 1, kNoWindow, 1, prefixes);
  ASSERT_EQ(plan.segments.size(), 3u);
  EXPECT_EQ(plan.segments[0].tile_begin, 64);
  EXPECT_EQ(plan.segments[0].tile_end, 69);
  EXPECT_EQ(plan.segments[1].tile_begin, 0);
  EXPECT_EQ(plan.segments[2].tile_begin, 64);
  EXPECT_EQ(plan.segments[2].tile_end, 65);
  const DecodePlan windowed = PlanDecode(rows, 1, 40, 1, prefixes);
  EXPECT_EQ(windowed.segments[0].tile_begin, (1100 - 40) / kDecodeTile);
}

TEST(DecodePlanTest, ALongRowAloneIsCutForManyBlocksAndMergedByOne) {
  const std::vector<AttentionRow> rows = {{0, 131072}};
  const DecodePlan plan = PlanDecode(rows, 8, kNoWindow, 264);
  ExpectCovers(plan, rows, 8, kNoWindow);
  int busy = 0;
  for (int b = 0; b < 264; ++b) busy += plan.first_segment[b + 1] > plan.first_segment[b] ? 1 : 0;
  EXPECT_GE(busy, 8 * 30);
}

}  // namespace
}  // namespace reprise::engine::cuda
