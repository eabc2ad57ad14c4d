// Promoter: makes matched prefixes resident. It pins what is in RAM, has the tier load what only
// disk holds, and completes each PinTicket with the leading blocks that turned out good. A block
// that several tickets wait for is loaded once.
//
// A ticket walks down its prefix and pins each block when it comes to it; until then only the last
// block is pinned, which keeps all of them in the store. The tier works on at most load_depth()
// loads at a time, of several sizes in proportion, and tickets take turns, one piece each, so that
// a short prefix does not wait for a long one to end, nor one of large blocks for one of small
// ones. Where RAM is short, the ticket that has waited longest takes what room there is, and when
// there was none for some time, all that wait for it end.
//
// The blocks of a ticket that is loaded by layer all start at once, if there is room for them, and
// the tier brings the first pieces of all of them first (LoadRequest). They are not part of what
// the tier works on at a time: the tier keeps a limit of its own for them, and there is one such
// ticket at a time, which begins while nothing else is loaded. Thread-safe.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "cachestore/store/block_ref.h"
#include "cachestore/store/leading_bytes.h"
#include "cachestore/store/load_forecast.h"
#include "cachestore/store/pin_state.h"
#include "cachestore/store/pin_ticket.h"
#include "cachestore/store/store_core.h"

namespace reprise::cachestore {

// The blocks that Pin asks for: those of `keys` from `first_block` on. The ones before are only
// verified.
struct PinRequest {
  uint32_t namespace_id = 0;
  int64_t block_tokens = 0;          // what one block counts as
  absl::Span<const BlockKey> keys;   // one per full block, root first
  absl::Span<const uint32_t> words;  // their contents
  size_t first_block = 0;            // at most keys.size()
  absl::Time deadline = absl::InfiniteFuture();
  LoadOrder order = LoadOrder::kByBlock;
};

class Promoter : public PinCanceller {
 public:
  // `registry` takes back the pins of the BlockRefs it hands out. Both outlive the promoter.
  // At most `max_loading_tickets` tickets wait for loads; to others, what only disk holds is a
  // miss.
  Promoter(StoreCore& core, BlockRegistry& registry, int max_loading_tickets);
  // REQUIRES: every ticket is gone. Waits for the loads under way. BLOCKS.
  ~Promoter() override;

  // See TieredStore::Pin.
  PinTicket Pin(const PinRequest& request, std::function<void()> on_done)
      ABSL_LOCKS_EXCLUDED(core_.mu);

  // See TieredStore::ForecastLoad; the request's first_block and deadline do not matter.
  LoadForecast Forecast(const PinRequest& request) const ABSL_LOCKS_EXCLUDED(core_.mu);

  void Cancel(const PinState* state) override ABSL_LOCKS_EXCLUDED(core_.mu);

 private:
  enum class Outcome {
    kWaiting,  // not come to yet
    kLoading,
    kReady,
    kLost,  // given up meanwhile, with an ancestor
    kCorrupt,
    kIoError,
    kNoRoom,
    kQueueFull,
    kDeadline,
  };
  struct Entry {
    BlockId id = kNoBlock;
    Outcome outcome = Outcome::kWaiting;
    bool from_disk = false;
    bool pinned = false;
  };
  // A ticket under way; everything but `state` is guarded by StoreCore::mu.
  struct Pending {
    std::shared_ptr<PinState> state;
    int64_t block_tokens = 0;
    size_t first = 0;            // place of the first entry in its prefix
    std::vector<Entry> entries;  // the matched blocks that were asked for, in order
    absl::Time deadline;
    uint64_t payload_bytes = 0;  // of each block
    size_t next = 0;             // the first entry not come to yet
    size_t end = 0;              // the first entry known to be a miss; those behind it are useless
    int64_t loads_left = 0;
    absl::Time starving_since = absl::InfiniteFuture();  // for want of a slot
    bool finished = false;
    std::optional<LeadingBytes> arriving;  // of a ticket that is loaded by layer

    bool is_starving() const { return starving_since != absl::InfiniteFuture(); }
    void Starve(absl::Time now) { starving_since = std::min(starving_since, now); }
  };
  struct Waiter {
    std::shared_ptr<Pending> pending;
    size_t entry = 0;
  };
  struct Load {
    SlotIndex slot = kNoSlot;
    bool by_layer = false;
    uint64_t arrived_bytes = 0;
    std::vector<Waiter> waiters;
  };
  using Tickets = std::list<std::shared_ptr<Pending>>;
  // The loads of blocks of one size.
  struct Line {
    int in_flight = 0;                            // the tier works on
    Tickets starving;                             // the one that has waited longest first
    absl::Time last_slot = absl::InfinitePast();  // was found for one of them
  };
  // What is to be done once the lock is released. A PinState must not end under the lock either.
  struct Work {
    std::vector<LoadRequest> loads;
    std::vector<std::pair<std::shared_ptr<PinState>, PinnedPrefix>> completions;
    bool empty() const { return loads.empty() && completions.empty(); }
  };
  // Block sizes for which no slot was found in this round.
  using NoRoom = std::vector<uint64_t>;

  // The longest chain that matches, and why it ends.
  std::vector<BlockId> FindLocked(const PinRequest& request, MatchEnd& end) const
      ABSL_SHARED_LOCKS_REQUIRED(core_.mu);
  // The same, counted as looked up, with the misses behind it.
  std::vector<BlockId> MatchLocked(const PinRequest& request)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  // What tickets of other prefixes than `chain` have still to load while a ticket of `chain` loads
  // `bytes`, taking turns with them; without the loads under way.
  uint64_t BytesAheadLocked(absl::Span<const BlockId> chain, uint64_t bytes) const
      ABSL_SHARED_LOCKS_REQUIRED(core_.mu);
  // Lets the tickets go on as far as they can, in turns.
  void PumpLocked(Work& work) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  // Lets one ticket go on by one piece; false when it can do nothing now.
  bool StepLocked(const std::shared_ptr<Pending>& pending, NoRoom& no_room, Work& work)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  // Pins the blocks in RAM that come next; returns whether there were any.
  bool PinResidentLocked(Pending& pending) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  // Joins or starts the load that comes next; false when it must wait.
  bool LoadNextLocked(const std::shared_ptr<Pending>& pending, NoRoom& no_room, Work& work)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  // Lets a ticket, the only one, load all its blocks now, by layer.
  bool MayLoadByLayerLocked() const ABSL_SHARED_LOCKS_REQUIRED(core_.mu);
  void LoadByLayerLocked(const std::shared_ptr<Pending>& pending, Work& work)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  // The first `bytes` bytes of `id`, which is being loaded, or of an entry are there.
  void NoteProgress(BlockId id, uint64_t bytes) ABSL_LOCKS_EXCLUDED(core_.mu);
  void NoteArrivedLocked(Pending& pending, size_t entry, uint64_t bytes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  // Once all blocks of a ticket that is loaded by layer have a slot.
  void TellAddressesLocked(Pending& pending) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  // The share of what the tier works on at a time that the loads under way take, 1 for load_depth()
  // loads of one size.
  double TierShareLocked() const ABSL_SHARED_LOCKS_REQUIRED(core_.mu);
  // No slot was found for the load that comes next: waits for one, or ends the ticket and returns
  // false when none can come.
  bool StarveLocked(const std::shared_ptr<Pending>& pending)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  void PinEntryLocked(Entry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  // `entry` is a miss, so all behind it are of no use: their pins go.
  void EndAtLocked(Pending& pending, size_t entry, Outcome outcome)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  // Ends the ticket with the leading blocks that are good now, for want of the others.
  void CutShortLocked(const std::shared_ptr<Pending>& pending, Outcome reason, Work& work)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  // Hands out the good leading blocks, counts hits and misses, once nothing is left to wait for.
  void FinishIfDoneLocked(const std::shared_ptr<Pending>& pending, Work& work)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  void RetireLocked(Pending& pending) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  int64_t& MissCounterLocked(Outcome outcome) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);

  // The load of `id` has ended.
  void FinishLoad(BlockId id, SlotIndex slot, const absl::Status& status)
      ABSL_LOCKS_EXCLUDED(core_.mu);
  // Records how it ended and returns what that is for those who wait for it.
  Outcome EndLoadLocked(BlockId id, SlotIndex slot, const absl::Status& status)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  void Do(Work work) ABSL_LOCKS_EXCLUDED(core_.mu);

  // The thread: lets tickets go on when there may be room for them, and ends them in time.
  void Run() ABSL_LOCKS_EXCLUDED(core_.mu);
  // Ends the tickets whose time is over; returns when the next one's is.
  absl::Time ExpireLocked(Work& work) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);

  StoreCore& core_;
  BlockRegistry& registry_;
  const int64_t max_loading_tickets_;
  // The tickets that are not done, and those of them that have blocks to load: the ones whose turn
  // comes in this order, and, by the bytes of their blocks, the ones that wait for room, which go
  // first.
  absl::flat_hash_map<const PinState*, std::shared_ptr<Pending>> tickets_ ABSL_GUARDED_BY(core_.mu);
  Tickets turns_ ABSL_GUARDED_BY(core_.mu);
  std::map<uint64_t, Line> lines_ ABSL_GUARDED_BY(core_.mu);
  absl::flat_hash_map<BlockId, Load> loads_ ABSL_GUARDED_BY(core_.mu);
  int ending_ ABSL_GUARDED_BY(core_.mu) = 0;  // calls of FinishLoad
  bool closing_ ABSL_GUARDED_BY(core_.mu) = false;
  absl::CondVar idle_cv_;  // a call of FinishLoad has ended
  std::thread thread_;     // none without a tier
};

}  // namespace reprise::cachestore
