// A KvLayout in the words of the kernels. Pure functions.
#pragma once

#include <cstdint>

#include "cachestore/block/kv_layout.h"
#include "engine/backend/cuda/kernels/launch_types.h"

namespace reprise::engine::cuda {

// `layer` of blocks of `layout` that lie in `arena` where `table` says.
PagedKv DescribeKv(const cachestore::KvLayout& layout, int32_t layer, uint8_t* arena,
                   const uint32_t* table, int32_t table_stride);

// Whether the kernels on tensor cores take such blocks: bf16, f16, fp8 or int8; head_dim 64 or 128;
// block_tokens a power of two, at least 8. The others are for GenericAttentionBlock.
bool FitsTensorCores(const cachestore::KvLayout& layout);

}  // namespace reprise::engine::cuda
