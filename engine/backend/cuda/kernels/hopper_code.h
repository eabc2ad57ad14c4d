// The words of device code that only sm_90a has: warpgroups, barriers of phases, copies of boxes.
// Kernels over them are compiled for sm_90a alone.
#pragma once

#include "engine/backend/cuda/kernels/device_code.h"

#ifdef __CUDACC__
#include "engine/backend/cuda/kernels/hopper_words.cuh"
#else
#include "engine/backend/cuda/emulation/hopper_words.h"
#endif

namespace reprise::engine::cuda {

inline constexpr int kGroupThreads = 128;  // of a warpgroup

// Boxes and operands of products lie in lines of this many bytes, whose 16-byte pieces are permuted
// by the line's number; patterns of 8 lines begin at multiples of kPatternBytes.
inline constexpr int kLineBytes = 128;
inline constexpr int kPatternBytes = 1024;
inline constexpr int kLineElements = kLineBytes / 2;

// Where 16-byte piece `piece` of line `line` lies, from the beginning of the lines.
REPRISE_DEVICE int PlaceOfPiece(int line, int piece) {
  return line * kLineBytes + ((piece ^ (line & 7)) * 16);
}

// What a product is told of a matrix in shared memory: where it begins, and strides in bytes.
//     by rows     line i is row i, or 64 columns of it: stride from row r to r + 8. `at` may be a
//                 multiple of 32 bytes into the first line: later columns.
//     by columns  line i is column i, or 64 rows of it: leading from row r to r + 64, stride from
//                 column c to c + 8.
REPRISE_DEVICE uint64_t DescribeMatrix(const void* at, int leading, int stride) {
  return (SharedAddress(at) >> 4 & 0x3FFFu) | static_cast<uint64_t>(leading >> 4) << 16 |
         static_cast<uint64_t>(stride >> 4) << 32 | 1ull << 62;
}

}  // namespace reprise::engine::cuda
