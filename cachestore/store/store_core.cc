#include "cachestore/store/store_core.h"

namespace reprise::cachestore {

StoreStats StoreCore::Stats() const {
  StoreStats stats = state.counters;
  stats.ram_blocks = static_cast<int64_t>(state.ram_copies.size());
  stats.disk_blocks = state.index.num_on_disk();
  stats.ram_used_bytes = state.pool.used_bytes();
  stats.ram_capacity_bytes = state.pool.capacity_bytes();
  stats.ram_huge_page_bytes = arena->huge_page_bytes();
  if (tier != nullptr) {
    stats.disk_used_bytes = tier->used_bytes();
    stats.disk_reserved_bytes = tier->reserved_bytes();
    stats.disk_capacity_bytes = tier->capacity_bytes();
    stats.lost_disk_indexes = static_cast<int64_t>(tier->losses().size());
  }
  stats.pinned_blocks = state.index.num_pinned();
  stats.writing_blocks = static_cast<int64_t>(state.writing.size());
  stats.queued_transfers = state.loading_blocks + state.storing_blocks;
  stats.load_bytes_per_second = load_rates.bytes_per_second();
  stats.load_latency_us = load_rates.latency_us();
  return stats;
}

}  // namespace reprise::cachestore
