#include "cachestore/store/store_core.h"

#include <chrono>
#include <limits>

namespace reprise::cachestore {

StoreStats StoreCore::Stats() const {
  StoreStats stats = state.counters;
  stats.ram_blocks = static_cast<int64_t>(state.ram_copies.size());
  stats.disk_blocks = state.index.num_on_disk();
  stats.gpu_blocks = static_cast<int64_t>(state.gpu.copies.size());
  stats.gpu_used_bytes = state.gpu.pool.used_bytes();
  stats.gpu_capacity_bytes = state.gpu.capacity_bytes();
  stats.ram_used_bytes = state.pool.used_bytes();
  stats.ram_capacity_bytes = state.pool.capacity_bytes();
  stats.ram_huge_page_bytes = arena->huge_page_bytes();
  if (tier != nullptr) {
    stats.disk_used_bytes = tier->used_bytes();
    stats.disk_reserved_bytes = tier->reserved_bytes();
    stats.disk_capacity_bytes = tier->capacity_bytes();
    stats.lost_disk_indexes = static_cast<int64_t>(tier->losses().size());
  }
  stats.pinned_blocks = state.index.num_pinned() + state.gpu.pinned_blocks;
  stats.writing_blocks = static_cast<int64_t>(state.writing.size() + state.gpu.writing.size());
  stats.loading_blocks = state.loading_blocks;
  stats.storing_blocks = state.storing_blocks;
  stats.copying_to_gpu_blocks = static_cast<int64_t>(state.gpu.loading.size());
  stats.copying_from_gpu_blocks = static_cast<int64_t>(state.fetching.size());
  stats.queued_transfers = stats.loading_blocks + stats.storing_blocks +
                           stats.copying_to_gpu_blocks + stats.copying_from_gpu_blocks;
  stats.erasing_blocks = state.erasing_blocks;
  stats.condemned_blocks = static_cast<int64_t>(state.condemned.size());
  stats.loading_tickets = loading_tickets;
  stats.starving_tickets = starving_tickets;
  stats.waiting_allocations = room_waiters;
  state.book.FillStats(stats);
  stats.load_bytes_per_second = load_rates.bytes_per_second();
  stats.load_latency_us = load_rates.latency_us();
  stats.copy_to_device_bytes_per_second = to_device_rates.bytes_per_second();
  stats.copy_to_host_bytes_per_second = to_host_rates.bytes_per_second();
  return stats;
}

FetchEnd StoreCore::EndFetch(const Fetch& fetch, uint64_t payload_hash) {
  const FetchEnd end = gpu.EndFetch(fetch, payload_hash);
  if (end != FetchEnd::kCorrupt) return end;
  disk.DropCorrupt(fetch.id);
  // Without a disk tier there is no demoter, which goes through them else.
  while (tier == nullptr && !state.orphans.empty()) {
    disk.CondemnOrphans(std::numeric_limits<size_t>::max());
  }
  return end;
}

PlaceInOrder StoreCore::Places() const ABSL_NO_THREAD_SAFETY_ANALYSIS {
  if (!state.order->has_places()) return nullptr;
  return [this](const BlockKey& key) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return state.order->PlaceOf(state.index.Find(key), key);
  };
}

ShareSizes StoreCore::SizesOf(uint32_t share) const {
  const TenantQuota& quota = state.shares[share].quota;
  const auto limited = [](int64_t bytes, int64_t all) {
    return bytes > 0 ? std::min(bytes, all) : all;
  };
  const int64_t in_ram = state.RamBytesOf(share);
  const int64_t on_disk_too = std::min(state.book.twice_held_bytes_of_share(share), in_ram);
  return {.gpu_bytes = state.gpu.capacity_bytes(),
          .ram_bytes = limited(quota.ram_bytes, state.pool.capacity_bytes()),
          .disk_bytes = limited(quota.disk_bytes, tier == nullptr ? 0 : tier->capacity_bytes()),
          .only_in_ram =
              in_ram == 0 ? 1 : 1 - static_cast<double>(on_disk_too) / static_cast<double>(in_ram)};
}

int64_t StoreCore::MillisecondsOpen() const {
  const auto open = std::chrono::steady_clock::now() - opened;
  return std::chrono::duration_cast<std::chrono::milliseconds>(open).count();
}

void StoreCore::NoteRequest(StoreRequest request) {
  request.time_ms = MillisecondsOpen();
  if (request.hints.use == RequestHints::Use::kRequest) {
    ++state.counters.requests;
    const WatchedRun run = Watched(request.namespace_id, request.block_tokens, request.keys);
    what_if.OnLookup(run, SizesOf(run.share), absl::Now());
  }
  state.order->OnRequest(request);
  if (observer != nullptr) observer->OnRequest(request);
}

void StoreCore::NoteEnd(StoreRequestEnd end) {
  end.time_ms = MillisecondsOpen();
  ++state.counters.ended_requests;
  if (!end.keys.empty()) what_if.OnStore(Watched(end.namespace_id, end.block_tokens, end.keys));
  state.order->OnRequestEnd(end);
  if (observer != nullptr) observer->OnEnd(end);
}

void StoreCore::CloseGpu() {
  if (state.gpu.closed) return;
  // In one go, although it takes long: nothing else is true of the tier any more.
  for (const BlockId id : gpu.Close()) disk.DropLost(id);
  while (!state.orphans.empty()) disk.CondemnOrphans(std::numeric_limits<size_t>::max());
  NoteChange();
}

}  // namespace reprise::cachestore
