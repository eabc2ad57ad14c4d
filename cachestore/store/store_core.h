// StoreCore: the store's lock and what it guards, shared by the facade and its threads.
//
// Lock order: StoreCore::mu, then the leaf lock PinState::mu. mu is held for microseconds: never
// over I/O, a copy of a payload, or a callback.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "cachestore/memory/device.h"
#include "cachestore/memory/host_arena.h"
#include "cachestore/policy/admission_policy.h"
#include "cachestore/store/block_ref.h"
#include "cachestore/store/disk_residency.h"
#include "cachestore/store/event_log.h"
#include "cachestore/store/gpu_residency.h"
#include "cachestore/store/load_rates.h"
#include "cachestore/store/ram_residency.h"
#include "cachestore/store/request_observer.h"
#include "cachestore/store/store_state.h"
#include "cachestore/store/what_if_curves.h"
#include "cachestore/tier/backing_tier.h"

namespace reprise::cachestore {

// The memory that the store has on a device, and the device's hold on the RAM tier.
struct DeviceMemory {
  Device* device = nullptr;  // null: there is no GPU tier
  DeviceBytes gpu;
  DeviceBytes pinned_ram;

  int64_t capacity_bytes() const { return static_cast<int64_t>(gpu.bytes().size()); }
};

struct StoreCore {
  StoreCore(std::unique_ptr<HostArena> ram_arena, DeviceMemory gpu_memory,
            std::unique_ptr<BackingTier> backing_tier, std::unique_ptr<EvictionPolicy> policy,
            std::unique_ptr<AdmissionPolicy> admission_policy, size_t num_events)
      : arena(std::move(ram_arena)),
        device(gpu_memory.device),
        device_memory(std::move(gpu_memory)),
        tier(std::move(backing_tier)),
        admission(std::move(admission_policy)),
        events(num_events),
        state(arena->bytes(), device_memory.gpu.bytes(), std::move(policy), tier != nullptr),
        ram(state),
        gpu(state, ram, device),
        disk(state, ram, gpu, *admission),
        what_if(static_cast<int64_t>(arena->bytes().size()), Places()) {}

  const std::unique_ptr<HostArena> arena;
  Device* const device;  // null: there is no GPU tier
  const DeviceMemory device_memory;
  const std::unique_ptr<BackingTier> tier;  // null: RAM is the last tier
  std::unique_ptr<AdmissionPolicy> admission ABSL_GUARDED_BY(mu);
  const std::chrono::steady_clock::time_point opened = std::chrono::steady_clock::now();
  int64_t low_watermark_bytes = 0;      // set once, before the threads start
  int64_t gpu_low_watermark_bytes = 0;  // the same

  EventLog events;  // appended to under mu

  mutable absl::Mutex mu;
  StoreState state ABSL_GUARDED_BY(mu);
  RamResidency ram ABSL_GUARDED_BY(mu);
  GpuResidency gpu ABSL_GUARDED_BY(mu);
  DiskResidency disk ABSL_GUARDED_BY(mu);
  LoadRates load_rates ABSL_GUARDED_BY(mu);       // of the tier
  LoadRates to_device_rates ABSL_GUARDED_BY(mu);  // of copies to the GPU
  LoadRates to_host_rates ABSL_GUARDED_BY(mu);    // of copies from it
  absl::CondVar room_cv;                          // a slot was freed, or a block may be evicted now
  absl::CondVar work_cv;                          // the demoter may have work
  absl::CondVar gpu_cv;                           // the GPU's demoter may have work
  absl::CondVar load_cv;    // a ticket waits for loads, or there may be room for them
  absl::CondVar erased_cv;  // disk copies were erased
  // Grows with every event that may give the demoter work; tells it whether to look again.
  uint64_t work_events ABSL_GUARDED_BY(mu) = 0;
  uint64_t gpu_events ABSL_GUARDED_BY(mu) = 0;   // the same for the GPU's
  absl::Time wanted_at ABSL_GUARDED_BY(mu);      // when room was last wanted
  absl::Time gpu_wanted_at ABSL_GUARDED_BY(mu);  // and on the GPU
  int64_t room_waiters ABSL_GUARDED_BY(mu) = 0;
  int64_t loading_tickets ABSL_GUARDED_BY(mu) = 0;   // not done
  int64_t starving_tickets ABSL_GUARDED_BY(mu) = 0;  // of these, found no slot to load into
  // A write that failed may be durable all the same until an erase has succeeded since. How many
  // times somebody had to know that none is, and up to which of these it is so.
  uint64_t settlings_wanted ABSL_GUARDED_BY(mu) = 0;
  uint64_t settlings_done ABSL_GUARDED_BY(mu) = 0;
  std::shared_ptr<RequestObserver> observer ABSL_GUARDED_BY(mu);  // null: nobody watches
  WhatIfCurves what_if ABSL_GUARDED_BY(mu);

  // Counters and gauges as they are now.
  StoreStats Stats() const ABSL_SHARED_LOCKS_REQUIRED(mu);

  // RAM that is free, or can be taken at once in the order of eviction.
  int64_t ReadyBytes() const ABSL_SHARED_LOCKS_REQUIRED(mu) {
    return state.pool.capacity_bytes() - state.pool.used_bytes() +
           std::min(state.clean_tail_bytes, state.clean_bytes);
  }
  // No slot for a block of the namespace was found, and somebody may want one still.
  void WantRoom(uint32_t namespace_id, Purpose purpose) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    if (purpose == Purpose::kCache && !state.FitsQuota(namespace_id)) return;
    const NamespaceRecord& record = state.namespaces[namespace_id];
    uint64_t& wanted = WantedBytes(namespace_id, purpose);
    const bool of_share = &wanted != &state.wanted_bytes;
    wanted = record.payload_bytes;
    (of_share ? state.shares[record.share].wanted_at : wanted_at) = absl::Now();
    if (of_share) state.NeedRelief(record.share);
  }
  // Where that is kept: with the share, if it is the quota that leaves no room.
  uint64_t& WantedBytes(uint32_t namespace_id, Purpose purpose) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    return purpose == Purpose::kCache && state.LacksQuota(namespace_id)
               ? state.shares[state.namespaces[namespace_id].share].wanted_bytes
               : state.wanted_bytes;
  }
  void WantGpuRoom(uint64_t block_bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    state.gpu.wanted_bytes = block_bytes;
    gpu_wanted_at = absl::Now();
  }
  // Blocks of a namespace, as the curves are told of them.
  WatchedRun Watched(uint32_t namespace_id, int64_t block_tokens,
                     absl::Span<const BlockKey> keys) const ABSL_SHARED_LOCKS_REQUIRED(mu) {
    const NamespaceRecord& record = state.namespaces[namespace_id];
    return {.keys = keys,
            .block_tokens = block_tokens,
            .slot_bytes = state.class_slot_bytes[record.size_class],
            .disk_bytes = record.disk_bytes,
            .namespace_id = namespace_id,
            .share = record.share,
            .tenant = record.tenant};
  }
  // Of the order of eviction; null: it is LRU. Call what it returns with the lock held.
  PlaceInOrder Places() const;
  // What a share may take: its quotas, or the tiers.
  ShareSizes SizesOf(uint32_t share) const ABSL_SHARED_LOCKS_REQUIRED(mu);
  bool NeedsRelief() const ABSL_SHARED_LOCKS_REQUIRED(mu) {
    return state.wanted_bytes > 0 || ReadyBytes() < low_watermark_bytes;
  }

  bool GpuNeedsRelief() const ABSL_SHARED_LOCKS_REQUIRED(mu) {
    if (state.gpu.closed) return false;
    return state.gpu.wanted_bytes > 0 || !state.gpu.wanted_below.empty() ||
           gpu.HasLessReadyThan(gpu_low_watermark_bytes);
  }

  // The store's clock: what requests have as their time.
  int64_t MillisecondsOpen() const;

  // A prompt was looked up to be used, and a request has ended: the one place where that is told,
  // with the time that it has on the store's clock.
  void NoteRequest(StoreRequest request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  void NoteEnd(StoreRequestEnd end) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);

  // To be called after anything that frees RAM or GPU memory, makes a block evictable, or takes
  // memory.
  void NoteChange() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    if (room_waiters > 0) room_cv.SignalAll();
    if (starving_tickets > 0) load_cv.Signal();
    if (device != nullptr && GpuNeedsRelief()) WakeGpuDemoter();
    if (tier == nullptr) return;
    if (NeedsRelief() || state.shares_need_relief || !state.condemned.empty() ||
        !state.orphans.empty()) {
      WakeDemoter();
    }
  }
  void WakeDemoter() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    ++work_events;
    work_cv.Signal();
  }

  void WakeGpuDemoter() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    ++gpu_events;
    gpu_cv.Signal();
  }

  // A copy to or from the GPU has failed, and so has the device: there is no GPU tier any more.
  void CloseGpu() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);

  // Ends a fetch that went well, as GpuResidency; a block whose bytes are not those that came to
  // the GPU is given up in every tier.
  FetchEnd EndFetch(const Fetch& fetch, uint64_t payload_hash) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);

  // Where the copy of `id` on the GPU lies. REQUIRES: there is one.
  absl::Span<std::byte> GpuBytes(BlockId id) const ABSL_SHARED_LOCKS_REQUIRED(mu) {
    return state.gpu.pool.SlotMemory(state.gpu.copies.at(id).slot).first(state.payload_bytes(id));
  }
  // The payload bytes in the slot of `id`. REQUIRES: in RAM.
  absl::Span<std::byte> RamBytes(BlockId id) const ABSL_SHARED_LOCKS_REQUIRED(mu) {
    return state.pool.SlotMemory(state.index.node(id).ram_slot).first(state.payload_bytes(id));
  }

  // The handle on a pin of block `pin.number` that `registry` takes back. REQUIRES: it was pinned.
  BlockRef Pinned(BlockRegistry* registry, BlockHandle pin, const BlockKey& key) const
      ABSL_SHARED_LOCKS_REQUIRED(mu) {
    if (pin.tier == Tier::kGpu) {
      return BlockRef(registry, pin, key, GpuBytes(pin.number), std::nullopt);
    }
    const uint64_t hash = state.ram_copy(pin.number).payload_hash;
    return BlockRef(registry, pin, key, RamBytes(pin.number),
                    hash == 0 ? std::nullopt : std::optional<uint64_t>(hash));
  }

  // What the tier is told about `id` (sequence: 0; payload_hash: that of the disk copy).
  StoredBlock Describe(BlockId id) const ABSL_SHARED_LOCKS_REQUIRED(mu) {
    const PrefixIndex::Node& node = state.index.node(id);
    const uint32_t* words = node.words();
    return {.key = node.key,
            .parent = state.index.node(node.parent).key,
            .root = state.index.node(state.index.root_node(node.namespace_id)).key,
            .tokens = {words, words + state.index.block_words(node.namespace_id)},
            .payload_bytes = state.payload_bytes(id),
            .payload_hash = node.payload_hash};
  }
};

}  // namespace reprise::cachestore
