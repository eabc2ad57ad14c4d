#include "cachestore/memory/copy_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

namespace reprise::cachestore {
namespace {

constexpr size_t kBytes = 1 << 16;

MATCHER_P3(Piece, to, from, bytes, "") {
  return arg.to == to && arg.from == from && arg.bytes == static_cast<size_t>(bytes);
}

class CopyPlanTest : public ::testing::Test {
 protected:
  CopyPlanTest() {
    map_.Add({to_, kBytes}, MemoryMap::Kind::kDevice);
    map_.Add({from_, kBytes}, MemoryMap::Kind::kHost);
  }

  CopyPlan Plan(const std::vector<CopyPiece>& pieces) const {
    EXPECT_EQ(DirectionOf(pieces, map_), CopyDirection::kToDevice);
    return PlanCopies(pieces, CopyDirection::kToDevice, map_, crossovers_);
  }

  struct alignas(64) Memory {
    std::byte bytes[kBytes];
  };
  const std::unique_ptr<Memory> device_ = std::make_unique<Memory>();
  const std::unique_ptr<Memory> host_ = std::make_unique<Memory>();
  std::byte* const to_ = device_->bytes;
  std::byte* const from_ = host_->bytes;
  MemoryMap map_;
  CopyCrossovers crossovers_ = {.to_device = {.kernel_below_bytes = 256, .kernel_min_runs = 3}};
};

TEST_F(CopyPlanTest, PiecesThatTouchOnBothSidesAreOneRunInWhateverOrderTheyCome) {
  const CopyPlan plan = Plan({{to_ + 600, from_ + 700, 300},
                              {to_, from_ + 100, 300},
                              {to_ + 300, from_ + 400, 300},
                              {to_ + 5000, from_ + 5000, 0},
                              {to_ + 900, from_ + 2000, 300}});
  EXPECT_THAT(plan.copied, testing::ElementsAre(Piece(to_, from_ + 100, 900),
                                                Piece(to_ + 900, from_ + 2000, 300)));
  EXPECT_THAT(plan.gathered, testing::IsEmpty());
}

TEST_F(CopyPlanTest, SmallRunsGoToTheKernelIfThereAreEnoughOfThem) {
  std::vector<CopyPiece> pieces = {
      {to_, from_, 128}, {to_ + 1024, from_ + 4096, 240}, {to_ + 8192, from_ + 8192, 256}};
  EXPECT_THAT(Plan(pieces).gathered, testing::IsEmpty()) << "two small ones";
  EXPECT_THAT(Plan(pieces).copied, testing::SizeIs(3));
  pieces.push_back({to_ + 2048, from_ + 2048, 16});
  EXPECT_THAT(Plan(pieces).gathered,
              testing::ElementsAre(Piece(to_, from_, 128), Piece(to_ + 1024, from_ + 4096, 240),
                                   Piece(to_ + 2048, from_ + 2048, 16)));
  EXPECT_THAT(Plan(pieces).copied, testing::ElementsAre(Piece(to_ + 8192, from_ + 8192, 256)));
}

TEST_F(CopyPlanTest, RunsThatAreNotWholeWordsAreNotForTheKernel) {
  const CopyPlan plan = Plan({{to_, from_, 128},
                              {to_ + 1024, from_ + 1024, 128},
                              {to_ + 2048, from_ + 2048, 128},
                              {to_ + 3072, from_ + 3080, 128},
                              {to_ + 4104, from_ + 4096, 128},
                              {to_ + 5120, from_ + 5120, 120}});
  EXPECT_THAT(plan.gathered, testing::SizeIs(3));
  EXPECT_THAT(plan.copied, testing::SizeIs(3));
}

TEST_F(CopyPlanTest, EachDirectionHasItsCrossover) {
  const CopyCrossovers crossovers = {.to_device = {1, 1}, .to_host = {2, 2}, .on_device = {3, 3}};
  EXPECT_EQ(crossovers.For(CopyDirection::kToDevice).kernel_below_bytes, 1u);
  EXPECT_EQ(crossovers.For(CopyDirection::kToHost).kernel_below_bytes, 2u);
  EXPECT_EQ(crossovers.For(CopyDirection::kOnDevice).kernel_below_bytes, 3u);
}

TEST_F(CopyPlanTest, TheDirectionIsThatOfTheMemory) {
  EXPECT_EQ(DirectionOf({{from_, to_, 1}}, map_), CopyDirection::kToHost);
  EXPECT_EQ(DirectionOf({{to_, to_ + 1, 1}}, map_), CopyDirection::kOnDevice);
  EXPECT_DEATH(DirectionOf({{from_, from_ + 1, 1}}, map_), "to_host");
  EXPECT_DEATH(DirectionOf({{from_, to_, 1}, {to_, from_, 1}}, map_), "value_or");
  EXPECT_DEATH(DirectionOf({{to_ + kBytes - 1, from_, 2}}, map_), "has_value");
}

TEST_F(CopyPlanTest, OverlappingDestinationsAreMisuse) {
  EXPECT_DEATH(Plan({{to_, from_, 128}, {to_ + 127, from_ + 4096, 128}}), "piece.to");
}

TEST_F(CopyPlanTest, NoRunCrossesAnEdgeOfPinnedMemory) {
  map_.Remove(from_);
  map_.Add({from_, 4096}, MemoryMap::Kind::kHost);
  map_.Add({from_ + 4096, kBytes - 4096}, MemoryMap::Kind::kHost);
  const CopyPlan plan = Plan(
      {{to_, from_ + 4000, 96}, {to_ + 96, from_ + 4096, 1000}, {to_ + 9000, from_ + 4095, 2}});
  EXPECT_THAT(
      plan.copied,
      testing::ElementsAre(Piece(to_, from_ + 4000, 96), Piece(to_ + 96, from_ + 4096, 1000),
                           Piece(to_ + 9000, from_ + 4095, 1), Piece(to_ + 9001, from_ + 4096, 1)));
}

// Whatever is asked for, doing what the plan says copies those bytes and no others.
TEST_F(CopyPlanTest, RandomPlansCopyExactlyWhatWasAskedFor) {
  std::mt19937 random(7);
  size_t num_gathered = 0;
  size_t num_merged = 0;
  for (size_t i = 0; i < kBytes; ++i) from_[i] = static_cast<std::byte>(random());
  for (int round = 0; round < 200; ++round) {
    map_.Remove(from_);
    const size_t edge = 1 + random() % (kBytes - 1);
    map_.Add({from_, edge}, MemoryMap::Kind::kHost);
    map_.Add({from_ + edge, kBytes - edge}, MemoryMap::Kind::kHost);
    std::vector<CopyPiece> pieces;
    std::vector<std::byte> wanted(kBytes);
    for (size_t at = 0, from = random() % 512 * 16; at < kBytes;) {
      // Of whole words, but for one in eight.
      const size_t bytes = std::min<size_t>(random() % 40 * 16 + (random() % 8 == 0), kBytes - at);
      if (random() % 3 == 0) from = random() % 512 * 16;
      if (random() % 4 != 0) {
        pieces.push_back({to_ + at, from_ + from, bytes});
        std::memcpy(&wanted[at], from_ + from, bytes);
      }
      at += (bytes + 15) / 16 * 16;
      from = (from + (bytes + 15) / 16 * 16) % (kBytes / 2);
    }
    std::shuffle(pieces.begin(), pieces.end(), random);
    const CopyPlan plan = Plan(pieces);
    std::memset(to_, 0, kBytes);
    for (const auto* runs : {&plan.copied, &plan.gathered}) {
      for (const CopyPiece& run : *runs) {
        EXPECT_LE(run.bytes, map_.BytesToEdge(run.from));
        std::memcpy(run.to, run.from, run.bytes);
      }
    }
    ASSERT_EQ(std::memcmp(to_, wanted.data(), kBytes), 0) << round;
    num_gathered += plan.gathered.size();
    num_merged += pieces.size() - plan.copied.size() - plan.gathered.size();
    map_.Remove(from_ + edge);
    map_.Remove(from_);
    map_.Add({from_, kBytes}, MemoryMap::Kind::kHost);
  }
  EXPECT_GT(num_gathered, 1000u);
  EXPECT_GT(num_merged, 1000u);
}

}  // namespace
}  // namespace reprise::cachestore
