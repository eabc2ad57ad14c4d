// RamResidency: decides about the RAM tier: which slot a block gets, what is evicted or dropped for
// it, what a seal and a pin mean. Owns nothing; works on StoreState.
//
// Victims go in the policy's order, whatever their size: a slab of another size whose blocks go
// first is given up before blocks of the wanted one.
//
// A tenant with a quota finds its victims among its own blocks once the quota is used up, so that
// nobody else loses anything by it. Only where all of RAM is used up as well, because quotas add up
// to more than it, or tenants without one or slabs of several slot sizes take the rest, does the
// order of all blocks decide. Thread-compatible: StoreCore::mu guards every call.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "cachestore/store/candidates.h"
#include "cachestore/store/sealing.h"
#include "cachestore/store/slab_chooser.h"
#include "cachestore/store/store_state.h"

namespace reprise::cachestore {

// Blocks that left RAM.
struct TakenBlocks {
  int64_t evicted = 0;  // a copy stays on disk or on the GPU
  int64_t dropped = 0;  // was the last copy

  int64_t total() const { return evicted + dropped; }
  TakenBlocks& operator+=(const TakenBlocks& other) {
    evicted += other.evicted;
    dropped += other.dropped;
    return *this;
  }
};

class RamResidency {
 public:
  explicit RamResidency(StoreState& state) : state_(state), candidates_(state), slabs_(state) {}

  // A slot for a block of the namespace, evicting or dropping at once what StoreState::victims
  // allows. nullopt: nothing can be taken now.
  std::optional<SlotIndex> AllocateSlot(uint32_t namespace_id, Purpose purpose = Purpose::kCache);
  // A slot for a copy of `id`, which only the GPU has. Without a disk tier only for blocks that go
  // before it, and none that the GPU would then have to give back; with one, also beyond the
  // tenant's quota, which the demoter then sees to.
  std::optional<SlotIndex> AllocateSlotBelowGpu(BlockId id);
  // Evicts until AllocateSlot would succeed. False when it cannot, or when the search for room
  // among other sizes was cut short: the next call goes on with it.
  bool MakeRoom(uint64_t block_bytes);
  // The same for a block of the namespace, within its tenant's quota if the purpose is kCache.
  bool MakeRoomFor(uint32_t namespace_id, Purpose purpose);
  // Evicts blocks of the share until it keeps to its quota with `more_bytes` more, `max_blocks` at
  // most; whether it does then.
  bool MakeShareRoom(uint32_t share, int64_t more_bytes, size_t max_blocks);
  // Takes what goes beyond the quota of the share and may go; asks the demoter for the rest.
  void KeepToQuota(uint32_t share);
  // The blocks that only RAM holds and that must be stored before MakeRoom can succeed.
  std::vector<BlockId> BlocksToClean(uint64_t block_bytes);
  // Whether some unpinned block may be evicted now or after a write to disk.
  bool HasCandidates() const;
  // The same of those that may make room for a block of the namespace.
  bool HasCandidatesFor(uint32_t namespace_id) const;

  // Makes the block in the (writing) slot readable and pins it; see TieredStore::Seal. Returns the
  // pinned block, which is another one than that in the slot when the key was in RAM already.
  BlockId Seal(const SealRequest& request);

  // `slot` now holds the bytes of `id`, with this XXH3-64. REQUIRES: `id` is not in RAM.
  void Attach(BlockId id, SlotIndex slot, uint64_t payload_hash);
  // Frees the slot of `id`, which is unpinned and not being stored.
  void Release(BlockId id, Removal why = Removal::kEvicted);

  void Pin(BlockId id);
  // Gives one pin back; the last one makes the block evictable, or ends it if only pins kept it.
  // What its tenant then has beyond its quota goes.
  void Unpin(BlockId id);

  // Takes up to `count` victims in order, those that were not used after `moment` (of the policy).
  TakenBlocks TakeVictims(int64_t count, Victims victims, uint64_t moment);
  // Takes those of `blocks` that lose nothing by it.
  TakenBlocks TakeClean(const std::vector<BlockId>& blocks);

 private:
  bool MayTake(BlockId id, Victims victims) const;
  void Take(BlockId id);
  // Takes blocks that may all go together, children before parents.
  void TakeAll(const std::vector<BlockId>& blocks);
  BlockId Victim(uint32_t size_class) const;
  void NoteTaken(BlockId id);

  StoreState& state_;
  Candidates candidates_;
  SlabChooser slabs_;
};

}  // namespace reprise::cachestore
