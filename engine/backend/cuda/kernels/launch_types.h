// What launchers and kernels are told in: plain structs of numbers and raw pointers. No Abseil, no
// engine; read by nvcc and by the host's compiler.
#pragma once

#include <cstddef>
#include <cstdint>

namespace reprise::engine::cuda {

// Element type of KV bytes; numbered as cachestore::DType.
enum class KvType : int32_t { kF32 = 1, kF16 = 2, kBF16 = 3, kE4M3 = 4, kInt8 = 5, kInt4 = 6 };

// Blocks lie at multiples of this from the arena's start.
inline constexpr int64_t kBlockUnit = 4096;

// How a kernel is launched: blocks, threads a block, dynamic shared memory a block.
struct LaunchShape {
  int grid_x = 1;
  int grid_y = 1;
  int threads = 32;
  int shared_bytes = 0;
};

// One layer of paged KV. A block holds, from keys_offset and from values_offset on,
// [kv_head][token][head_dim] elements and, scales_offset behind, [kv_head][token] scales
// (cachestore/block/kv_layout.h).
struct PagedKv {
  uint8_t* arena = nullptr;
  // [sequences][table_stride]: where a sequence's blocks lie, in units of kBlockUnit.
  const uint32_t* table = nullptr;
  int32_t table_stride = 0;
  KvType type = KvType::kF32;
  int32_t kv_heads = 0;
  int32_t head_dim = 0;
  int32_t block_tokens = 0;
  int32_t row_bytes = 0;     // of the elements of one token and head
  int32_t scales_bytes = 0;  // of its scales
  int64_t keys_offset = 0;
  int64_t values_offset = 0;
  int64_t scales_offset = 0;

  friend bool operator==(const PagedKv&, const PagedKv&) = default;
};

// A row of q that attends to positions [max(0, length - window), length) of `sequence`.
struct AttentionRow {
  int32_t sequence = 0;
  int32_t length = 0;
};

// No window: longer than any sequence.
inline constexpr int32_t kNoWindow = 0x7FFFFFFF;

}  // namespace reprise::engine::cuda
