// PagedKvSets: the KV of a batch of sequences on a device, several times over: whoever takes the
// sets in turns finds none of them in the card's cache.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "bench/gpu/attention_work.h"
#include "cachestore/block/kv_layout.h"
#include "cachestore/memory/device.h"
#include "engine/backend/cuda/kernels/launch_types.h"

namespace reprise::bench {

class PagedKvSets {
 public:
  // Random KV of sequences of these lengths, whose blocks lie in random places; as many sets as
  // fill the cache three times, at least one. kInvalidArgument: a dtype other than bf16 and fp8.
  // BLOCKS.
  static absl::StatusOr<PagedKvSets> Create(cachestore::Device& device, const AttentionShape& shape,
                                            const DecodeBatch& batch);

  size_t size() const { return sets_.size(); }
  // Of one set, for kernels.
  const engine::cuda::PagedKv& kv(size_t set) const { return sets_[set]; }
  // Of every set, [sequences][kv(0).table_stride], as the host sees it.
  const std::vector<uint32_t>& table() const { return table_; }
  // All bytes of one set.
  absl::Span<std::byte> bytes(size_t set) const {
    return arena_.bytes().subspan(set * set_bytes_, set_bytes_);
  }

 private:
  PagedKvSets(cachestore::DeviceBytes arena, cachestore::DeviceBytes tables, size_t set_bytes)
      : arena_(std::move(arena)), tables_(std::move(tables)), set_bytes_(set_bytes) {}

  cachestore::DeviceBytes arena_;
  cachestore::DeviceBytes tables_;
  size_t set_bytes_;
  std::vector<uint32_t> table_;
  std::vector<engine::cuda::PagedKv> sets_;
};

}  // namespace reprise::bench
