// What the kernels that take rows from here to there are told; row_moves.cuh has the shapes. Plain
// data. Rows are dense, row-major f32.
#pragma once

#include "engine/backend/cuda/kernels/launch_types.h"

namespace reprise::engine::cuda {

inline constexpr int kMoveThreads = 256;  // one block a row
constexpr LaunchShape MoveShape(int rows) { return {rows, 1, kMoveThreads, 0}; }

struct GatherRowsParams {
  const float* x = nullptr;
  const int32_t* rows = nullptr;
  float* out = nullptr;
  int32_t cols = 0;

  friend bool operator==(const GatherRowsParams&, const GatherRowsParams&) = default;
};

struct AddRowsParams {
  const float* y = nullptr;
  const int32_t* rows = nullptr;  // no two are equal; null: row i to row i
  const float* scales = nullptr;  // null: as they are
  float* x = nullptr;
  int32_t cols = 0;

  friend bool operator==(const AddRowsParams&, const AddRowsParams&) = default;
};

struct SoftCapParams {
  float* x = nullptr;
  float cap = 1;
  int32_t cols = 0;

  friend bool operator==(const SoftCapParams&, const SoftCapParams&) = default;
};

}  // namespace reprise::engine::cuda
