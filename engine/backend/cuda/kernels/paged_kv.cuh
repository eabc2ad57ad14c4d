// Where a row of paged KV lies.
#pragma once

#include "engine/backend/cuda/kernels/device_code.h"
#include "engine/backend/cuda/kernels/launch_types.h"

namespace reprise::engine::cuda {

// The block that holds `position` of `sequence`.
REPRISE_DEVICE uint8_t* BlockOf(const PagedKv& kv, int sequence, int position) {
  const int64_t at = static_cast<int64_t>(sequence) * kv.table_stride + position / kv.block_tokens;
  return kv.arena + kv.table[at] * kBlockUnit;
}

// Where a sequence's table has the block of `position`. REQUIRES: block_tokens is a power of two.
REPRISE_DEVICE int EntryOf(const PagedKv& kv, int position) {
  return position >> HighestBit(kv.block_tokens);
}

// The elements and the scales of one row; `part` is keys_offset or values_offset.
struct KvRow {
  uint8_t* elements;
  uint8_t* scales;
};
REPRISE_DEVICE KvRow RowOf(const PagedKv& kv, int64_t part, int sequence, int kv_head,
                           int position) {
  uint8_t* base = BlockOf(kv, sequence, position) + part;
  const int64_t row = static_cast<int64_t>(kv_head) * kv.block_tokens + position % kv.block_tokens;
  return {base + row * kv.row_bytes, base + kv.scales_offset + row * kv.scales_bytes};
}

}  // namespace reprise::engine::cuda
