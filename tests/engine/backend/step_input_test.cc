#include "engine/backend/step_input.h"

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace reprise::engine {
namespace {

using ::testing::ElementsAre;

TEST(StepInputTest, PositionsFollowEachSequence) {
  const SequenceRows sequences[] = {{0, 1, 70}, {1, 3, 0}, {4, 2, 9}};
  std::vector<int32_t> positions = {1};
  ListPositions(sequences, &positions);
  EXPECT_THAT(positions, ElementsAre(70, 0, 1, 2, 9, 10));
}

TEST(StepInputTest, KeptRowsKeepTheirPositionsAndBlocks) {
  std::byte block;
  std::byte* const blocks[] = {&block};
  const SequenceRows sequences[] = {{0, 1, 70}, {1, 3, 4}, {4, 2, 9, blocks}};
  const int64_t rows[] = {0, 3, 5};
  std::vector<SequenceRows> kept(7);
  ListKeptRows(sequences, rows, &kept);
  ASSERT_EQ(kept.size(), 3u);
  const int64_t starts[] = {70, 6, 10};
  for (int64_t i = 0; i < 3; ++i) {
    EXPECT_EQ(kept[i].first_row, i);
    EXPECT_EQ(kept[i].num_rows, 1);
    EXPECT_EQ(kept[i].start, starts[i]);
  }
  EXPECT_EQ(kept[2].blocks.data(), blocks);
  ListKeptRows(sequences, {}, &kept);
  EXPECT_TRUE(kept.empty());
}

}  // namespace
}  // namespace reprise::engine
