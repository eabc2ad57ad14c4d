// StoreCore: the store's lock and what it guards, shared by the facade and its threads.
//
// Lock order: StoreCore::mu, then one of the leaf locks TransferQueue::mu_ and PinState::mu. mu is
// held for microseconds: never over I/O, a copy of a payload, or a callback.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "cachestore/memory/host_arena.h"
#include "cachestore/store/disk_residency.h"
#include "cachestore/store/ram_residency.h"
#include "cachestore/store/store_state.h"
#include "cachestore/tier/backing_tier.h"

namespace reprise::cachestore {

struct StoreCore {
  StoreCore(std::unique_ptr<HostArena> ram_arena, std::unique_ptr<BackingTier> backing_tier,
            std::unique_ptr<EvictionPolicy> ram_policy, std::unique_ptr<EvictionPolicy> disk_policy)
      : arena(std::move(ram_arena)),
        tier(std::move(backing_tier)),
        state(arena->bytes(), std::move(ram_policy), std::move(disk_policy),
              tier == nullptr ? RamVictims::kCleanOrLast : RamVictims::kClean),
        ram(state),
        disk(state, ram) {}

  const std::unique_ptr<HostArena> arena;
  const std::unique_ptr<BackingTier> tier;  // null: RAM is the last tier
  int64_t low_watermark_bytes = 0;          // set once, before the threads start

  mutable absl::Mutex mu;
  StoreState state ABSL_GUARDED_BY(mu);
  RamResidency ram ABSL_GUARDED_BY(mu);
  DiskResidency disk ABSL_GUARDED_BY(mu);
  absl::CondVar room_cv;    // a slot was freed, or a block may be evicted now
  absl::CondVar work_cv;    // the demoter may have work
  absl::CondVar erased_cv;  // disk copies were erased
  // Grows with every event that may give the demoter work; tells it whether to look again.
  uint64_t work_events ABSL_GUARDED_BY(mu) = 0;
  int64_t room_waiters ABSL_GUARDED_BY(mu) = 0;
  bool closing ABSL_GUARDED_BY(mu) = false;

  // Whether less RAM is free, or can be taken at once, than the low watermark asks for.
  bool NeedsRelief() const ABSL_SHARED_LOCKS_REQUIRED(mu) {
    const int64_t free = state.pool.capacity_bytes() - state.pool.used_bytes();
    return state.wanted_bytes > 0 || free + state.clean_tail_bytes < low_watermark_bytes;
  }

  // To be called after anything that frees RAM, makes a block evictable, or takes RAM.
  void NoteChange() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    if (room_waiters > 0) room_cv.SignalAll();
    if (tier == nullptr || (!NeedsRelief() && state.condemned.empty())) return;
    ++work_events;
    work_cv.Signal();
  }

  // The payload bytes in the slot of `id`. REQUIRES: in RAM.
  absl::Span<std::byte> RamBytes(BlockId id) const ABSL_SHARED_LOCKS_REQUIRED(mu) {
    return state.pool.SlotMemory(state.index.node(id).ram_slot).first(state.payload_bytes(id));
  }

  // What the tier is told about `id` (sequence: 0).
  StoredBlock Describe(BlockId id) const ABSL_SHARED_LOCKS_REQUIRED(mu) {
    const PrefixIndex::Node& node = state.index.node(id);
    const uint32_t* words = node.words();
    return {.key = node.key,
            .parent = state.index.node(node.parent).key,
            .root = state.index.node(state.index.root_node(node.namespace_id)).key,
            .tokens = {words, words + state.index.block_words(node.namespace_id)},
            .payload_bytes = state.payload_bytes(id)};
  }
};

}  // namespace reprise::cachestore
