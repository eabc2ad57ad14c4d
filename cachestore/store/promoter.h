// Promoter: makes matched prefixes resident in the tier that was asked for. It pins what is there,
// has the rest brought there, and completes each PinTicket with the leading blocks that turned out
// good. A block that several tickets wait for is loaded once; tickets for the other tier wait until
// that has ended.
//
//     disk --tier--> RAM --copy--> GPU      a ticket for the GPU: both slots first, then the hops
//                    RAM <--copy-- GPU      a ticket for RAM, of a block that is on the GPU
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
// ticket at a time, which begins while nothing else is loaded. To the GPU they go as a convoy: what
// all of them have of their bytes in RAM, verified, is copied a few layers at a time, and the
// ticket tells the moment by which each part has landed. Thread-safe.
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
#include "cachestore/store/device_transfers.h"
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
  int64_t prompt_tokens = 0;         // of the whole prompt; for who watches requests
  absl::Span<const BlockKey> keys;   // one per full block, root first
  absl::Span<const uint32_t> words;  // their contents
  size_t first_block = 0;            // at most keys.size()
  absl::Time deadline = absl::InfiniteFuture();
  uint64_t layer_bytes = 0;  // of a block; only an order by layer to the GPU asks
  LoadOrder order = LoadOrder::kByBlock;
  Tier tier = Tier::kRam;
  RequestHints hints;
};

class Promoter : public PinCanceller {
 public:
  // `registry` takes back the pins of the BlockRefs it hands out; `transfers` is null where there
  // is no GPU tier. All outlive the promoter. At most `max_loading_tickets` tickets wait for loads;
  // to others, what only disk holds is a miss.
  Promoter(StoreCore& core, BlockRegistry& registry, DeviceTransfers* transfers,
           int max_loading_tickets);
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
  enum class Source { kGpu, kRam, kDisk };
  struct Entry {
    BlockId id = kNoBlock;
    Outcome outcome = Outcome::kWaiting;
    Source source = Source::kRam;  // where the block was when the ticket came to it
    bool pinned = false;           // in RAM, or wherever it is
    bool gpu_pinned = false;
  };
  // The blocks of a ticket that go to the GPU by layer. Whatever becomes of the ticket, all of them
  // get there but those that are left behind: lost, or sealed meanwhile.
  struct Convoy {
    std::weak_ptr<PinState> ticket;
    uint64_t block_bytes = 0;
    uint64_t layer_bytes = 0;
    LeadingBytes verified;        // in RAM, by place; of a place without a block, all
    std::vector<BlockId> blocks;  // by place; kNoBlock: there already, or left behind
    uint64_t sent = 0;            // leading bytes of each that were given to the device
    absl::Time began;             // when the first of them were
    Moment freed;                 // what copies into their slots await
  };
  // The bytes of a block, and its share.
  using LineKey = std::pair<uint64_t, uint32_t>;
  // A ticket under way; everything but `state` is guarded by StoreCore::mu.
  struct Pending {
    std::shared_ptr<PinState> state;
    Tier tier = Tier::kRam;
    int64_t block_tokens = 0;
    size_t first = 0;            // place of the first entry in its prefix
    std::vector<Entry> entries;  // the matched blocks that were asked for, in order
    absl::Time deadline;
    uint64_t payload_bytes = 0;  // of each block
    LineKey line;
    size_t next = 0;  // the first entry not come to yet
    size_t end = 0;   // the first entry known to be a miss; those behind it are useless
    int64_t loads_left = 0;
    absl::Time starving_since = absl::InfiniteFuture();  // for want of a slot
    Tier starving_for = Tier::kRam;
    bool lacks_quota = false;  // starving: for want of its tenant's, not of the tier
    bool finished = false;
    // Of a ticket that is loaded by layer, to RAM or to the GPU.
    std::optional<LeadingBytes> arriving;
    std::shared_ptr<Convoy> convoy;

    bool is_by_layer() const { return arriving.has_value() || convoy != nullptr; }
    bool is_starving() const { return starving_since != absl::InfiniteFuture(); }
    void Starve(Tier tier, bool for_quota, absl::Time now) {
      starving_since = std::min(starving_since, now);
      starving_for = tier;
      lacks_quota = for_quota;
    }
  };
  struct Waiter {
    std::shared_ptr<Pending> pending;
    size_t entry = 0;
  };
  struct Load {
    Tier to = Tier::kRam;
    Source from = Source::kDisk;
    SlotIndex slot = kNoSlot;      // in RAM, unless it comes from there
    SlotIndex gpu_slot = kNoSlot;  // of one to the GPU
    LineKey line;
    bool by_layer = false;
    uint64_t arrived_bytes = 0;
    absl::Time began;  // its last hop
    std::vector<Waiter> waiters;
    // Of one in a convoy: its place there, copies of parts under way, whether one has failed, and
    // whether the whole block is in RAM, pinned for them.
    std::shared_ptr<Convoy> convoy;
    size_t place = 0;
    int copies = 0;
    bool copy_failed = false;
    bool is_in_ram = false;
    std::optional<absl::Status> read_end;  // its load from disk ended so, while there were copies
  };
  using Tickets = std::list<std::shared_ptr<Pending>>;
  // When a slot was found for a load.
  struct LastSlots {
    absl::Time in_ram = absl::InfinitePast();
    absl::Time on_gpu = absl::InfinitePast();
  };
  // The loads of blocks of one size and share: what one tenant has no room for by its quota holds
  // nobody else up.
  struct Line {
    int in_flight = 0;  // the tier works on
    Tickets starving;   // the one that has waited longest first
    LastSlots last_slots;
  };
  // What is to be done once the lock is released. A PinState must not end under the lock either.
  struct ToGpu {
    BlockId id = kNoBlock;
    CopyPiece piece;
    Moment freed;  // what the copy awaits
    absl::Time began;
  };
  // The copies of a part of a convoy's blocks, and what its ticket tells then.
  struct Part {
    std::shared_ptr<PinState> ticket;  // null: it was given up
    uint64_t begin = 0;
    uint64_t end = 0;
    std::vector<ToGpu> copies;
  };
  struct Work {
    std::vector<LoadRequest> loads;
    std::vector<ToGpu> to_gpu;
    std::vector<Part> parts_to_gpu;
    std::vector<Fetch> to_ram;
    std::vector<std::pair<std::shared_ptr<PinState>, PinnedPrefix>> completions;
    std::vector<std::shared_ptr<PinState>> taken_back;  // held until the lock is not
    bool empty() const {
      return loads.empty() && to_gpu.empty() && parts_to_gpu.empty() && to_ram.empty() &&
             completions.empty() && taken_back.empty();
    }
  };
  // For what no slot was found in this round: for blocks of this size, of this share alone if it
  // was the quota that left no room.
  struct Lack {
    Tier tier = Tier::kRam;
    LineKey line;
    bool of_quota = false;
  };
  using NoRoom = std::vector<Lack>;

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
  // The lines with tickets that wait for room, the one whose first ticket waits longest first.
  std::vector<Line*> StarvingLinesLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  // Lets one ticket go on by one piece; false when it can do nothing now.
  bool StepLocked(const std::shared_ptr<Pending>& pending, NoRoom& no_room, Work& work)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  // Pins the blocks in the ticket's tier that come next; returns whether there were any.
  bool PinResidentLocked(Pending& pending) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  // Joins or starts the load that comes next; false when it must wait.
  bool LoadNextLocked(const std::shared_ptr<Pending>& pending, NoRoom& no_room, Work& work)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  // Starts the load that comes next; false when it must wait.
  bool StartLoadLocked(const std::shared_ptr<Pending>& pending, NoRoom& no_room, Work& work)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  // The last step of it, for each place where the block may be; false: there is no slot.
  bool StartFromDiskLocked(BlockId id, Load load, Work& work)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  bool StartFromGpuLocked(BlockId id, Load load, Work& work)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  // Ends a copy from the GPU: what came of it for those who wait. Without a hash it has failed.
  Outcome EndFetchLocked(const Fetch& fetch, const uint64_t* payload_hash)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  // The block of `load` is in RAM: the hop from there.
  void StartToGpuLocked(BlockId id, const Load& load, Work& work)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  // Lets a ticket, the only one, load all its blocks now, by layer.
  bool MayLoadByLayerLocked() const ABSL_SHARED_LOCKS_REQUIRED(core_.mu);
  void LoadByLayerLocked(const std::shared_ptr<Pending>& pending, uint64_t layer_bytes, Work& work)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  // All loads of its convoy have begun: they set out, or go by block if the ticket needs more.
  void SetOutLocked(Pending& pending, Work& work) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  // Begins the copies of what all blocks of the convoy have now.
  void SendLocked(Convoy& convoy, Work& work) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  // The block of `load` is in RAM and stays there for its copies.
  void NoteInRamLocked(BlockId id, Load& load) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  // The others do not wait for it any more.
  void LeaveBehindLocked(Load& load, Work& work) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  // What the convoy's ticket was told does not hold any more.
  void TakeBackLocked(const Convoy& convoy, Work& work) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  // No copy of a part of `id` is under way now: what comes next, its end at last.
  void GoOnByLayerLocked(BlockId id, Work& work) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  // These copies of a part have ended.
  void FinishPart(const std::vector<ToGpu>& copies, const absl::Status& status)
      ABSL_LOCKS_EXCLUDED(core_.mu);
  // The first `bytes` bytes of `id`, which is being loaded, or of an entry are there.
  void NoteProgress(BlockId id, uint64_t bytes) ABSL_LOCKS_EXCLUDED(core_.mu);
  void NoteArrivedLocked(Pending& pending, size_t entry, uint64_t bytes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  // Once all blocks of a ticket that is loaded by layer have a slot.
  void TellAddressesLocked(Pending& pending) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  // The share of what the tier works on at a time that the loads under way take, 1 for load_depth()
  // loads of one size.
  double TierShareLocked() const ABSL_SHARED_LOCKS_REQUIRED(core_.mu);
  // No slot of `tier` was found for the load that comes next: waits for one, or ends the ticket and
  // returns false when none can come.
  bool StarveLocked(const std::shared_ptr<Pending>& pending, Tier tier)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  void PinEntryLocked(Entry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  // Where it is on the GPU; lets go of it elsewhere.
  void PinEntryOnGpuLocked(Entry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  void UnpinEntryLocked(Entry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  BlockRef RefLocked(Tier tier, BlockId id) ABSL_SHARED_LOCKS_REQUIRED(core_.mu);
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

  // Gives the copies in `work` to the device, in batches.
  void StartCopies(const Work& work) ABSL_LOCKS_EXCLUDED(core_.mu);
  // These copies have ended.
  void FinishToGpu(const std::vector<ToGpu>& copies, const absl::Status& status)
      ABSL_LOCKS_EXCLUDED(core_.mu);
  // The load of `id` to the GPU has ended, and its copies with it.
  void EndToGpuLocked(BlockId id, bool ok, Work& work) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  void FinishToRam(const std::vector<Fetch>& copies, const absl::Status& status)
      ABSL_LOCKS_EXCLUDED(core_.mu);
  // Tells those who wait for `load` how it has ended.
  void EndWaitersLocked(const Load& load, Outcome outcome, Work& work)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  // Lets others go on after loads have ended, and does what that makes of `work`; undoes the
  // counting of them in ending_.
  void GoOn(Work work) ABSL_LOCKS_EXCLUDED(core_.mu);
  // The load of `id` from disk has ended.
  void FinishLoad(BlockId id, const absl::Status& status) ABSL_LOCKS_EXCLUDED(core_.mu);
  // The same, once nothing reads its slot any more: the hop to the GPU, or the end.
  void EndReadLocked(BlockId id, const absl::Status& status, Work& work)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
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
  DeviceTransfers* const transfers_;
  const int64_t max_loading_tickets_;
  // The tickets that are not done, and those of them that have blocks to load: the ones whose turn
  // comes in this order, and, by line, the ones that wait for room, which go
  // first.
  absl::flat_hash_map<const PinState*, std::shared_ptr<Pending>> tickets_ ABSL_GUARDED_BY(core_.mu);
  Tickets turns_ ABSL_GUARDED_BY(core_.mu);
  std::map<LineKey, Line> lines_ ABSL_GUARDED_BY(core_.mu);
  // For blocks of so many bytes, whosever they are.
  absl::flat_hash_map<uint64_t, LastSlots> last_slots_ ABSL_GUARDED_BY(core_.mu);
  absl::flat_hash_map<BlockId, Load> loads_ ABSL_GUARDED_BY(core_.mu);
  int ending_ ABSL_GUARDED_BY(core_.mu) = 0;  // calls of Finish...
  bool closing_ ABSL_GUARDED_BY(core_.mu) = false;
  absl::CondVar idle_cv_;  // a call of Finish... has ended
  std::thread thread_;     // none where everything is in RAM
};

}  // namespace reprise::cachestore
