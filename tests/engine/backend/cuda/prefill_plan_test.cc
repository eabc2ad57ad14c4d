#include "engine/backend/cuda/prefill_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <tuple>
#include <vector>

#include "engine/backend/cuda/kernels/prefill_sm90_params.h"

namespace reprise::engine::cuda {
namespace {

// The pieces of each (first_row, kv head), in order.
std::map<std::pair<int32_t, int32_t>, std::vector<PrefillItem>> ByRows(const PrefillPlan& plan) {
  std::map<std::pair<int32_t, int32_t>, std::vector<PrefillItem>> items;
  for (const PrefillItem& item : plan.items) {
    auto& pieces = items[{item.first_row, item.kv_head}];
    pieces.resize(item.pieces);
    EXPECT_EQ(pieces[item.piece].num_rows, 0) << "twice";
    pieces[item.piece] = item;
  }
  return items;
}

// Positions [0 or where the first row's window begins, last row] of each row and kv head are in one
// piece each, and states and counters are a piece's and a set of pieces' alone.
void ExpectCovers(const PrefillPlan& plan, const std::vector<PrefillRows>& rows, int kv_heads,
                  int group, int32_t window, const PrefillTiling& tiling) {
  auto items = ByRows(plan);
  std::vector<int> states(plan.num_states);
  std::vector<int> counters(plan.num_counters);
  for (const PrefillRows& sequence : rows) {
    for (int kv_head = 0; kv_head < kv_heads; ++kv_head) {
      for (int32_t row = 0; row < sequence.num_rows;) {
        const auto& pieces = items[{sequence.first_row + row, kv_head}];
        ASSERT_FALSE(pieces.empty());
        const int32_t start = sequence.start + row;
        int32_t at = std::max(0, start + 1 - window) / tiling.tile * tiling.tile;
        for (const PrefillItem& piece : pieces) {
          EXPECT_EQ(piece.start, start);
          EXPECT_EQ(piece.sequence, sequence.sequence);
          EXPECT_LE(piece.num_rows * group, tiling.pairs);
          EXPECT_EQ(piece.kv_begin, at);
          EXPECT_EQ(piece.kv_begin % tiling.tile, 0);
          EXPECT_GT(piece.kv_end, piece.kv_begin);
          at = piece.kv_end;
          if (piece.pieces > 1) ++states[piece.first_state + piece.piece];
        }
        if (pieces.size() > 1) ++counters[pieces[0].counter];
        row += pieces[0].num_rows;
        EXPECT_EQ(at, sequence.start + row);
      }
    }
  }
  EXPECT_THAT(states, testing::Each(1));
  EXPECT_THAT(counters, testing::Each(1));
}

TEST(PrefillPlanTest, RandomBatchesAreCoveredExactly) {
  std::mt19937 random(3);
  for (int i = 0; i < 200; ++i) {
    std::vector<PrefillRows> rows(1 + random() % 6);
    int32_t first_row = 0;
    for (size_t s = 0; s < rows.size(); ++s) {
      rows[s] = {first_row, static_cast<int32_t>(1 + random() % 300), static_cast<int32_t>(s),
                 static_cast<int32_t>(random() % 9000)};
      first_row += rows[s].num_rows;
    }
    const int kv_heads = 1 + static_cast<int>(random() % 4);
    const int group = 1 + static_cast<int>(random() % 16);
    const int32_t window = i % 3 == 0 ? 1 + static_cast<int32_t>(random() % 3000) : kNoWindow;
    const int num_blocks = 1 + static_cast<int>(random() % 300);
    const PrefillTiling& tiling = i % 2 == 0 ? kPrefillTiling : kSm90Tiling;
    const PrefillPlan plan = PlanPrefill(rows, kv_heads, group, window, num_blocks, tiling);
    ExpectCovers(plan, rows, kv_heads, group, window, tiling);
    EXPECT_TRUE(std::is_sorted(plan.items.begin(), plan.items.end(),
                               [](const PrefillItem& a, const PrefillItem& b) {
                                 return a.kv_end - a.kv_begin > b.kv_end - b.kv_begin;
                               }))
        << "the longest first";
  }
}

// A short chunk of a long context would leave most of a card idle.
TEST(PrefillPlanTest, FewRowsOfALongContextAreSplitOverPositions) {
  const PrefillPlan plan = PlanPrefill({{0, 16, 0, 30000}}, 8, 4, kNoWindow, 264);
  EXPECT_GE(plan.items.size(), 200u);
  for (const PrefillItem& item : plan.items) {
    EXPECT_GE(item.kv_end - item.kv_begin, item.piece + 1 < item.pieces ? kLeastPiece : 1);
  }
  const PrefillPlan enough = PlanPrefill({{0, 4096, 0, 30000}}, 8, 4, kNoWindow, 264);
  EXPECT_EQ(enough.num_states, 0);
}

}  // namespace
}  // namespace reprise::engine::cuda
