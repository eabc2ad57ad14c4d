// The smallest kernels that say whether a card of compute capability 9.0 does what the emulation
// takes it to do: one box of a copy, one product with both operands in shared memory, one with the
// first in registers. hopper_probe_tables.h has what they must give.
#pragma once

#include "engine/backend/cuda/kernels/hopper_code.h"
#include "tests/gpu/hopper_probe_params.h"

namespace reprise::engine::cuda {

struct HopperProbeParams {
  const uint16_t* in = nullptr;
  const uint16_t* in_b = nullptr;
  void* out = nullptr;
  TensorMap map;
};

// out u16 [kProbeBoxRows][64]: shared memory as the box of `map` at (kProbeBoxRow, kProbeBoxColumn)
// leaves it. One warp.
REPRISE_DEVICE void ProbeBox(const HopperProbeParams& params) {
  constexpr int kBytes = kProbeBoxRows * kLineBytes;
  uint64_t* const barrier = reinterpret_cast<uint64_t*>(SharedBase() + kBytes);
  if (Lane() == 0) {
    InitBarrier(barrier, 1);
    FenceBarriers();
    ArriveForBytes(barrier, kBytes);
    CopyBox(SharedBase(), params.map, kProbeBoxColumn, kProbeBoxRow, barrier);
  }
  SyncWarp();
  WaitForPhase(barrier, 0);
  const Shared<uint16_t> box(SharedBase());
  for (int i = Lane(); i < kBytes / 2; i += kLanes) static_cast<uint16_t*>(params.out)[i] = box[i];
}

// Rows of `columns` 16-bit elements into lines at `to`: panel after panel of 64 columns. By a
// warpgroup.
REPRISE_DEVICE void StoreLines(const uint16_t* from, int rows, int columns, uint8_t* to) {
  const int pieces = columns / 8;
  for (int i = ThreadInBlock(); i < rows * pieces; i += kGroupThreads) {
    const int row = i / pieces;
    const int piece = i % pieces;
    uint8_t* const panel = to + piece / 8 * rows * kLineBytes;
    StoreForAsync(panel + PlaceOfPiece(row, piece % 8), Load16(from + i * 8));
  }
}

// out f32 [64][128]: the lane's sums.
REPRISE_DEVICE void StoreSums(const float (&sums)[16][4], float* out) {
  REPRISE_UNROLL
  for (int j = 0; j < 16; ++j) {
    REPRISE_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int row = WarpInBlock() * 16 + Lane() / 4 + i / 2 * 8;
      out[row * 128 + j * 8 + 2 * (Lane() % 4) + i % 2] = sums[j][i];
    }
  }
}

// A B, A = in bf16 [64][64] and B^T = in_b bf16 [128][64], both by rows. One warpgroup.
REPRISE_DEVICE void ProbeProductOfRows(const HopperProbeParams& params) {
  uint8_t* const a = SharedBase();
  uint8_t* const b = a + 64 * kLineBytes;
  StoreLines(params.in, 64, 64, a);
  StoreLines(params.in_b, 128, 64, b);
  FenceAsync();
  SyncBlock();
  float sums[16][4] = {};
  FenceProducts(sums);
  REPRISE_UNROLL
  for (int step = 0; step < 4; ++step) {
    MultiplyShared<true>(sums, DescribeMatrix(a + 32 * step, 16, kPatternBytes),
                         DescribeMatrix(b + 32 * step, 16, kPatternBytes), step > 0);
  }
  CommitProducts();
  WaitForProducts<0>(sums);
  StoreSums(sums, static_cast<float*>(params.out));
}

// A B, A = in bf16 [64][64] in registers and B = in_b bf16 [64][128], by columns. One warpgroup.
REPRISE_DEVICE void ProbeProductOfColumns(const HopperProbeParams& params) {
  uint8_t* const b = SharedBase();
  StoreLines(params.in_b, 64, 128, b);
  FenceAsync();
  SyncBlock();
  float sums[16][4] = {};
  uint32_t a[4][4];
  REPRISE_UNROLL
  for (int step = 0; step < 4; ++step) {
    REPRISE_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int row = WarpInBlock() * 16 + Lane() / 4 + i % 2 * 8;
      const uint16_t* from = params.in + row * 64 + step * 16 + 2 * (Lane() % 4) + i / 2 * 8;
      a[step][i] = from[0] | static_cast<uint32_t>(from[1]) << 16;
    }
  }
  FenceProducts(sums, a);
  REPRISE_UNROLL
  for (int step = 0; step < 4; ++step) {
    MultiplyRegisters<true>(
        sums, a[step], DescribeMatrix(b + step * 16 * kLineBytes, 64 * kLineBytes, kPatternBytes));
  }
  CommitProducts();
  WaitForProducts<0>(sums);
  StoreSums(sums, static_cast<float*>(params.out));
}

}  // namespace reprise::engine::cuda
