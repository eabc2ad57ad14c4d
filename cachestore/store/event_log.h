// EventLog: the last changes of where blocks are found, numbered from 1 on, for those who follow
// the store (routers, indexes elsewhere) and for those who ask why a block is gone.
//
//     forgotten | oldest ... newest | next        a ring: the next one takes the place of the
//     oldest
//
// One writer at a time, who never waits for a reader: readers copy what they want and then drop
// what may have been overwritten meanwhile. Append, OldestKept and LastRemoval are
// thread-compatible, StoreCore::mu guards them; the others are thread-safe and need no lock. Memory
// is taken once, about 64 bytes an event.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "cachestore/index/key_table.h"
#include "cachestore/index/residency.h"

namespace reprise::cachestore {

enum class EventKind : uint8_t {
  kStored,   // the block can be found in the tier
  kRemoved,  // it cannot any more
  kCleared,  // no block of the namespace is left in any tier; key, parent and tier mean nothing
};

struct StoreEvent {
  uint64_t sequence = 0;
  absl::Time time;
  EventKind kind = EventKind::kStored;
  CacheTier tier = CacheTier::kGpu;
  Removal why = Removal::kEvicted;  // of one that was removed
  uint32_t namespace_id = 0;
  BlockKey key;
  BlockKey parent;  // the namespace's root key for a first block
};

// Events without a gap.
struct EventPage {
  // The sequence number of the first one, or of the next one if there is none. Larger than the one
  // asked for when what lies between has been forgotten.
  uint64_t first = 0;
  std::vector<StoreEvent> events;
  uint64_t next() const { return first + events.size(); }
};

struct LastRemoval {
  absl::Time time;
  Removal why = Removal::kEvicted;
};

class EventLog {
 public:
  // Keeps the last `capacity` events (at least 1, below 2^31).
  explicit EventLog(size_t capacity);

  // Appends an event; its sequence number and time are set here. Allocates nothing.
  void Append(const StoreEvent& event);
  // When the block with this key last left a tier, and why; nullopt: it did not, as far as the log
  // goes back.
  std::optional<LastRemoval> LastRemovalOf(const BlockKey& key) const;

  // The number that the next event gets.
  uint64_t next_sequence() const { return published_.load(std::memory_order_acquire) + 1; }
  // Up to `max_events` events from number `from` on.
  EventPage Read(uint64_t from, size_t max_events) const;
  // Waits until the event `from` is there or `deadline` has passed; says whether it is. BLOCKS.
  bool Await(uint64_t from, absl::Time deadline) const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // An event in words that may be read while they are written: the time in nanoseconds; kind, tier,
  // reason and namespace; key and parent key.
  struct Slot {
    std::array<std::atomic<uint64_t>, 6> words;
  };

  Slot& SlotOf(uint64_t sequence) const { return slots_[sequence % capacity_]; }
  static StoreEvent Decode(uint64_t sequence, const Slot& slot);
  // The oldest event that is kept when number `newest` is being written, or has been.
  uint64_t OldestBeside(uint64_t newest) const {
    return newest > capacity_ ? newest - capacity_ + 1 : 1;
  }
  BlockKey KeyIn(uint32_t slot) const;
  // The place of `slot`, which is about to be overwritten, is taken out of removals_.
  void Forget(uint32_t slot);

  const size_t capacity_;
  const std::unique_ptr<Slot[]> slots_;  // by sequence modulo capacity_
  KeyTable removals_;                    // key -> slot of its last removal
  // The newest event that is being written, and the newest one that is written. The writer stores
  // the first before the words of an event, which it stores with release: who reads a word that is
  // newer than the event that it belongs to sees that this event has been overwritten.
  std::atomic<uint64_t> begun_ = 0;
  std::atomic<uint64_t> published_ = 0;
  // Those who wait. The writer stores published_ and then reads this, who waits does it the other
  // way round (both in one total order), so that one of them sees the other.
  mutable std::atomic<int64_t> waiters_ = 0;
  mutable absl::Mutex mu_;  // a leaf lock; guards nothing but the wait
  mutable absl::CondVar published_cv_;
};

}  // namespace reprise::cachestore
