#include "engine/backend/cuda/emulation/box_copy.h"

#include <algorithm>
#include <cstring>

#include "engine/backend/cuda/emulation/thread_block.h"

namespace reprise::engine::cuda::emulation {
namespace {

constexpr int kElementBytes = 2;
constexpr int kLineBytes = 128;

void Fill(ThreadBlock& block, std::byte* to, const BoxMap& map, int column, int row) {
  std::byte* const shared = block.shared();
  for (int r = 0; r < map.box_rows; ++r) {
    for (int c = 0; c < map.box_columns; ++c) {
      const bool is_inside =
          row + r >= 0 && row + r < map.rows && column + c >= 0 && column + c < map.columns;
      const auto offset = static_cast<uint32_t>(to - shared + r * kLineBytes + c * kElementBytes);
      const int64_t element = (int64_t{row} + r) * map.columns + column + c;
      if (is_inside) {
        std::memcpy(shared + Swizzled(offset), map.base + element * kElementBytes, kElementBytes);
      } else {
        std::memset(shared + Swizzled(offset), 0, kElementBytes);
      }
    }
  }
}

}  // namespace

void CopyBox(void* to, const BoxMap& map, int column, int row, void* at) {
  ThreadBlock& block = ThreadBlock::Current();
  const int bytes = map.box_rows * kLineBytes;
  if (map.box_columns * kElementBytes != kLineBytes || map.box_rows < 1 || map.box_rows > 256) {
    block.Fail("a box must have rows of 128 bytes, 1 to 256 of them");
  }
  if (reinterpret_cast<uintptr_t>(map.base) % 16 != 0 || map.columns * kElementBytes % 16 != 0) {
    block.Fail("a tensor and its rows must begin at multiples of 16 bytes");
  }
  block.CheckShared(to, bytes, kSharedAlignment, "copy of a box");
  block.barriers().CheckFenced(at);
  auto* const place = static_cast<std::byte*>(to);
  std::fill(place, place + bytes, kPoison);
  block.DoAside([&block, place, map, column, row, at, bytes] {
    Fill(block, place, map, column, row);
    block.barriers().Land(at, bytes);
  });
}

}  // namespace reprise::engine::cuda::emulation
