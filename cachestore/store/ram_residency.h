// RamResidency: decides about the RAM tier: which slot a block gets, what is evicted or dropped for
// it, what a seal and a pin mean. Owns nothing; works on StoreState.
//
// A block is in StoreState::ram_order exactly while it is in RAM, unpinned and matchable, so a scan
// for victims never walks over pinned blocks. Thread-compatible: StoreCore::mu guards every call.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/types/span.h"
#include "cachestore/store/store_state.h"

namespace reprise::cachestore {

// What is sealed.
struct SealRequest {
  uint32_t namespace_id = 0;
  SlotIndex slot = kNoSlot;
  BlockKey parent;
  BlockKey key;
  absl::Span<const uint32_t> words;
};

class RamResidency {
 public:
  explicit RamResidency(StoreState& state) : state_(state) {}

  // A slot for `block_bytes`, evicting or dropping at once what StoreState::victims allows.
  // nullopt: nothing can be taken now.
  std::optional<SlotIndex> AllocateSlot(uint64_t block_bytes);
  // Evicts until AllocateSlot would succeed; false when it cannot.
  bool MakeRoom(uint64_t block_bytes);

  // Makes the block in the (writing) slot readable and pins it; see TieredStore::Seal. Returns the
  // pinned block, which is another one than that in the slot when the key was in RAM already.
  BlockId Seal(const SealRequest& request);

  // `slot` now holds the bytes of `id`. REQUIRES: `id` is not in RAM.
  void Attach(BlockId id, SlotIndex slot);
  // Frees the slot of `id`, which is unpinned and not being stored.
  void Release(BlockId id);
  // Enters `id` into the eviction order if it belongs there.
  void EnterOrder(BlockId id);
  void LeaveOrder(BlockId id);

  void Pin(BlockId id);
  // Gives one pin back; the last one makes the block evictable, or ends it if only pins kept it.
  void Unpin(BlockId id);

  // Takes up to `count` victims, oldest first, as `victims` allows; returns how many left RAM.
  int64_t TakeVictims(int64_t count, RamVictims victims);

 private:
  bool MayTake(BlockId id, RamVictims victims) const;
  void Take(BlockId id);
  bool TakeOneOfSize(uint64_t slot_bytes);
  // Empties the slab of some old block of another slot size, so that the slab can be cut anew.
  bool DrainOneSlab(uint64_t slot_bytes);
  bool MayDrain(SlotIndex slot) const;
  bool MayAttachTo(BlockId parent, const SealRequest& request) const;

  StoreState& state_;
};

}  // namespace reprise::cachestore
