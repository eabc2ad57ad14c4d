#include "engine/backend/cuda/kv_description.h"

namespace reprise::engine::cuda {

using cachestore::DType;

static_assert(static_cast<int>(KvType::kF32) == static_cast<int>(DType::kF32) &&
              static_cast<int>(KvType::kF16) == static_cast<int>(DType::kF16) &&
              static_cast<int>(KvType::kBF16) == static_cast<int>(DType::kBF16) &&
              static_cast<int>(KvType::kE4M3) == static_cast<int>(DType::kF8E4M3) &&
              static_cast<int>(KvType::kInt8) == static_cast<int>(DType::kInt8) &&
              static_cast<int>(KvType::kInt4) == static_cast<int>(DType::kInt4));

PagedKv DescribeKv(const cachestore::KvLayout& layout, int32_t layer, uint8_t* arena,
                   const uint32_t* table, int32_t table_stride) {
  PagedKv kv;
  kv.arena = arena;
  kv.table = table;
  kv.table_stride = table_stride;
  kv.type = static_cast<KvType>(layout.dtype);
  kv.kv_heads = layout.num_kv_heads;
  kv.head_dim = layout.head_dim;
  kv.block_tokens = layout.block_tokens;
  kv.row_bytes = static_cast<int32_t>(layout.RowBytes());
  kv.scales_bytes = layout.ScalesPerRow() * 2;
  kv.keys_offset = static_cast<int64_t>(layout.PartOffset(layer, 0));
  kv.values_offset = static_cast<int64_t>(layout.PartOffset(layer, 1));
  kv.scales_offset = static_cast<int64_t>(layout.ScalesOffset());
  return kv;
}

bool FitsTensorCores(const cachestore::KvLayout& layout) {
  const bool dtype = layout.dtype == DType::kBF16 || layout.dtype == DType::kF16 ||
                     layout.dtype == DType::kF8E4M3 || layout.dtype == DType::kInt8;
  const int32_t tokens = layout.block_tokens;
  return dtype && (layout.head_dim == 64 || layout.head_dim == 128) && tokens >= 8 &&
         (tokens & (tokens - 1)) == 0;
}

}  // namespace reprise::engine::cuda
