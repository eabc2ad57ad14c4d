// Promoter: makes matched prefixes resident. It pins what is in RAM, loads what only disk holds on
// its own threads, and completes each PinTicket with the leading blocks that turned out good. A
// block that several tickets wait for is loaded once. Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"
#include "cachestore/store/block_ref.h"
#include "cachestore/store/pin_ticket.h"
#include "cachestore/store/store_core.h"
#include "cachestore/store/store_options.h"
#include "cachestore/store/transfer_queue.h"

namespace reprise::cachestore {

// The blocks that Pin asks for: those of `keys` from `first_block` on. The ones before are only
// verified.
struct PinRequest {
  uint32_t namespace_id = 0;
  int64_t block_tokens = 0;          // what one block counts as
  absl::Span<const BlockKey> keys;   // one per full block, root first
  absl::Span<const uint32_t> words;  // their contents
  size_t first_block = 0;            // at most keys.size()
};

class Promoter {
 public:
  // `registry` takes back the pins of the BlockRefs it hands out. Both outlive the promoter.
  Promoter(StoreCore& core, BlockRegistry& registry, const StoreOptions& options);
  ~Promoter();

  // See TieredStore::Pin.
  PinTicket Pin(const PinRequest& request, std::function<void()> on_done)
      ABSL_LOCKS_EXCLUDED(core_.mu);

  // Waits for the loads under way, ends those queued without room, and ends the threads. BLOCKS.
  // REQUIRES: StoreCore::closing.
  void Close() ABSL_LOCKS_EXCLUDED(core_.mu);

 private:
  enum class Outcome { kReady, kLoading, kCorrupt, kIoError, kNoRoom, kLost, kBehindMiss };
  struct Entry {
    BlockId id = kNoBlock;
    Outcome outcome = Outcome::kReady;
    bool from_disk = false;
    bool pinned = false;
  };
  // A ticket under way; everything but `state` is guarded by StoreCore::mu.
  struct Pending {
    std::shared_ptr<PinState> state;
    int64_t block_tokens = 0;
    std::vector<Entry> entries;  // the matched blocks that were asked for, in order
    int64_t loads_left = 0;
    size_t first_miss =
        SIZE_MAX;  // the first entry known to be a miss; those behind it are useless
  };
  struct Waiter {
    std::shared_ptr<Pending> pending;
    size_t entry = 0;
  };
  // A load queued or running.
  struct Load {
    uint64_t number = 0;  // loads take their slots in the order of their numbers
    std::vector<Waiter> waiters;
  };
  using Completion = std::pair<std::shared_ptr<PinState>, PinnedPrefix>;

  // The matched blocks that the request asks for, counted as looked up, with the misses behind
  // them.
  std::vector<Entry> MatchLocked(const PinRequest& request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  void PinResidentLocked(Pending& pending) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  void StartLoadsLocked(const std::shared_ptr<Pending>& pending)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  // Joins or queues the load of one entry; false when the queue is full.
  bool StartLoadLocked(const std::shared_ptr<Pending>& pending, size_t entry)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  // Takes the good leading blocks, gives back the other pins, counts hits and misses.
  PinnedPrefix FinishLocked(Pending& pending) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  // The counter of tokens for a miss of this kind.
  int64_t& MissCounterLocked(Outcome outcome) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);

  // Finds a slot for the load of `id` and starts it, or ends it without one.
  void StartLoad(BlockId id) ABSL_LOCKS_EXCLUDED(core_.mu);
  // Ends the load of `id` for everyone who waits for it.
  void FinishLoad(BlockId id, SlotIndex slot, const absl::Status& status)
      ABSL_LOCKS_EXCLUDED(core_.mu);
  // A slot for the load of `id`, waiting a little for room; kNoSlot when there is none or nobody
  // needs the block any more.
  SlotIndex AwaitSlotLocked(BlockId id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  bool IsNeededLocked(BlockId id) const ABSL_SHARED_LOCKS_REQUIRED(core_.mu);
  // Records how the load of `id` ended and returns what it ends for its waiters.
  Outcome EndLoadLocked(BlockId id, SlotIndex slot, const absl::Status& status)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);

  StoreCore& core_;
  BlockRegistry& registry_;
  absl::flat_hash_map<BlockId, Load> loads_ ABSL_GUARDED_BY(core_.mu);
  uint64_t next_number_ ABSL_GUARDED_BY(core_.mu) = 0;
  // Number of the load that takes a slot next: when room is short, the first blocks of a prefix
  // must have it, whichever thread comes first.
  uint64_t slot_turn_ ABSL_GUARDED_BY(core_.mu) = 0;
  absl::CondVar turn_cv_;
  int in_flight_ ABSL_GUARDED_BY(core_.mu) = 0;  // loads the tier works on; at most load_depth()
  absl::CondVar flight_cv_;
  TransferQueue queue_;
};

}  // namespace reprise::cachestore
