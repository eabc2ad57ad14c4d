#include "engine/backend/cuda/kernels/row_moves.cuh"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "engine/backend/cuda/emulation/thread_block.h"

namespace reprise::engine::cuda {
namespace {

using testing::FloatNear;
using testing::Pointwise;

constexpr int kCols = 259;  // no multiple of anything

std::vector<float> Numbers(int rows) {
  std::vector<float> numbers(rows * kCols);
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = std::sin(static_cast<float>(i)) * 9;
  return numbers;
}

void RunRows(int rows, absl::FunctionRef<void()> kernel) {
  const LaunchShape shape = MoveShape(rows);
  const absl::Status status =
      emulation::Launch({shape.grid_x, shape.grid_y, shape.threads, 0}, {}, kernel);
  EXPECT_TRUE(status.ok()) << status;
}

TEST(RowMovesTest, GathersRowsAndNoOthers) {
  const std::vector<float> x = Numbers(4);
  const std::vector<int32_t> rows = {3, 0, 3};
  std::vector<float> out(4 * kCols, -1);
  RunRows(3, [&] { GatherRowsBlock({x.data(), rows.data(), out.data(), kCols}); });
  for (int i = 0; i < kCols; ++i) {
    EXPECT_EQ(out[i], x[3 * kCols + i]);
    EXPECT_EQ(out[kCols + i], x[i]);
    EXPECT_EQ(out[2 * kCols + i], x[3 * kCols + i]);
    EXPECT_EQ(out[3 * kCols + i], -1);
  }
}

TEST(RowMovesTest, AddsRowsWhereTheyBelong) {
  const std::vector<float> y = Numbers(2);
  const std::vector<int32_t> rows = {2, 0};
  const std::vector<float> scales = {0.5f, -3};
  const std::vector<float> before = Numbers(3);
  std::vector<float> x = before;
  RunRows(2, [&] { AddRowsBlock({y.data(), rows.data(), scales.data(), x.data(), kCols}); });
  for (int i = 0; i < kCols; ++i) {
    EXPECT_EQ(x[i], before[i] + -3 * y[kCols + i]);
    EXPECT_EQ(x[kCols + i], before[kCols + i]);
    EXPECT_EQ(x[2 * kCols + i], before[2 * kCols + i] + 0.5f * y[i]);
  }
  x = before;
  RunRows(2, [&] { AddRowsBlock({y.data(), nullptr, nullptr, x.data(), kCols}); });
  for (int i = 0; i < 3 * kCols; ++i) {
    EXPECT_EQ(x[i], before[i] + (i < 2 * kCols ? y[i] : 0));
  }
}

TEST(RowMovesTest, SoftCapsBoundEveryElement) {
  std::vector<float> x = Numbers(2);
  x[0] = 1e30f;
  x[1] = -1e30f;
  std::vector<float> expected = x;
  for (float& value : expected) value = 5 * std::tanh(value / 5);
  RunRows(2, [&] { SoftCapBlock({x.data(), 5, kCols}); });
  EXPECT_THAT(x, Pointwise(FloatNear(2e-6f), expected));
}

}  // namespace
}  // namespace reprise::engine::cuda
