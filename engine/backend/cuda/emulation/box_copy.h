// Copies of boxes of a tensor into shared memory (TMA), emulated: two dimensions, 16-bit elements,
// rows of the box swizzled over 128 bytes. What lies outside of the tensor is 0.
#pragma once

#include <cstddef>
#include <cstdint>

namespace reprise::engine::cuda::emulation {

// Where the byte at `offset` of shared memory lies after the swizzle: of 1,024 bytes, the 16-byte
// pieces of line i (of 128 bytes) are permuted by i.
constexpr uint32_t Swizzled(uint32_t offset) { return offset ^ (offset >> 3 & 0x70); }

// A tensor of `rows` x `columns` elements, row after row, and a box of it.
struct BoxMap {
  const std::byte* base = nullptr;
  int64_t rows = 0;
  int32_t columns = 0;
  int32_t box_rows = 0;
  int32_t box_columns = 0;  // 64: 128 bytes
};

// Copies the box whose first element is (`row`, `column`) to `to`, and lands at the mbarrier `at`.
// Fails unless `to` begins a pattern of the swizzle. By one thread.
void CopyBox(void* to, const BoxMap& map, int column, int row, void* at);

}  // namespace reprise::engine::cuda::emulation
