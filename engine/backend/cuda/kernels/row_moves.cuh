// Rows that are picked, added, bounded; a block to a row of `cols` floats.
//
//     GatherRowsBlock   out[i] = x[rows[i]]; bytes a row: 4 cols read, 4 cols written
//     AddRowsBlock      x[rows[i]] += scales[i] x y[i]; bytes a row: 8 cols read, 4 cols written
//     SoftCapBlock      x = cap x tanh(x / cap); bytes a row: 4 cols read, 4 cols written
//
// Memory is the limit; for few rows the launch.
#pragma once

#include "engine/backend/cuda/kernels/device_code.h"
#include "engine/backend/cuda/kernels/row_moves_params.h"
#include "engine/backend/cuda/kernels/soft_cap.cuh"

namespace reprise::engine::cuda {

REPRISE_DEVICE void GatherRowsBlock(const GatherRowsParams& params) {
  const float* from = params.x + static_cast<int64_t>(params.rows[BlockX()]) * params.cols;
  float* to = params.out + static_cast<int64_t>(BlockX()) * params.cols;
  for (int c = ThreadInBlock(); c < params.cols; c += kMoveThreads) to[c] = from[c];
}

REPRISE_DEVICE void AddRowsBlock(const AddRowsParams& params) {
  const int row = BlockX();
  const float* from = params.y + static_cast<int64_t>(row) * params.cols;
  const int to_row = params.rows != nullptr ? params.rows[row] : row;
  float* to = params.x + static_cast<int64_t>(to_row) * params.cols;
  const float scale = params.scales != nullptr ? params.scales[row] : 1.0f;
  for (int c = ThreadInBlock(); c < params.cols; c += kMoveThreads) {
    to[c] = AddRn(to[c], MulRn(scale, from[c]));
  }
}

REPRISE_DEVICE void SoftCapBlock(const SoftCapParams& params) {
  float* x = params.x + static_cast<int64_t>(BlockX()) * params.cols;
  for (int c = ThreadInBlock(); c < params.cols; c += kMoveThreads) {
    x[c] = SoftCapped(x[c], params.cap);
  }
}

}  // namespace reprise::engine::cuda
