// DiskResidency: decides about the disk tier: which blocks are written next and in which order,
// which are erased for them, and what the end of a load means. It does no I/O: Begin... says what
// to do, End... what came of it. Owns nothing; works on StoreState.
//
// What is on disk stays prefix-closed: a batch holds the missing ancestors of its blocks, parents
// first, and erases take children before parents. Only one thread writes to the disk tier, so no
// store and no erase overlap. Thread-compatible: StoreCore::mu guards every call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "cachestore/store/ram_residency.h"
#include "cachestore/store/store_state.h"

namespace reprise::cachestore {

// Blocks of one size, parents first, whose RAM copies are written next.
struct StoreBatch {
  std::vector<BlockId> blocks;
  uint64_t payload_bytes = 0;
  // Bytes of the oldest RAM blocks that will be clean once the batch is stored.
  int64_t clean_bytes = 0;
};

class DiskResidency {
 public:
  DiskResidency(StoreState& state, RamResidency& ram) : state_(state), ram_(ram) {}

  // Walks the RAM blocks from the oldest on, until `clean_bytes` of them are clean or in the batch,
  // and marks those that are not as being stored, with their missing ancestors. An empty batch
  // means that nothing needs, or is able, to be written.
  StoreBatch BeginStore(int64_t clean_bytes, size_t max_blocks);
  void EndStore(const StoreBatch& batch);
  // Takes the blocks after the first `num_blocks` out of the batch: they will not be on disk.
  void ShrinkStore(StoreBatch& batch, size_t num_blocks);

  // Marks up to `count` disk copies as being erased, oldest first, those of `payload_bytes` and
  // without a RAM copy before the others. Children come before their parents.
  std::vector<BlockId> BeginErase(uint64_t payload_bytes, size_t count);
  // Marks up to `count` condemned disk copies that may go now as being erased, children first.
  std::vector<BlockId> BeginEraseCondemned(size_t count);
  void EndErase(const std::vector<BlockId>& blocks);
  // The disk may or may not have forgotten them: they are condemned.
  void AbortErase(const std::vector<BlockId>& blocks);

  // A load of `id` begins, first without a slot: the disk copy stays. REQUIRES: readable on disk,
  // not loading.
  void BeginLoad(BlockId id);
  // A slot for the load of `id`; nullopt when none can be taken now.
  std::optional<SlotIndex> AllocateLoadSlot(BlockId id);
  // The load succeeded; returns whether the block is readable in RAM now.
  bool EndLoad(BlockId id, SlotIndex slot);
  // The load failed (`slot` may be kNoSlot), the disk copy may be good; returns whether the block
  // is readable in RAM anyway (sealed in the meantime).
  bool AbortLoad(BlockId id, SlotIndex slot);
  // The disk copy of `id` is not what was stored. It and everything on disk below it is condemned;
  // RAM copies that cannot be reached any more are dropped, the pinned ones with their last pin.
  void Condemn(BlockId id);
  // `id` alone leaves all tiers; while it is pinned or being stored its key cannot be sealed again.
  // Blocks below it must follow.
  void Invalidate(BlockId id);

 private:
  // Appends `id` with its missing ancestors, as many as fit; false when one is not storable.
  bool AppendChain(BlockId id, size_t max_blocks, StoreBatch& batch);
  bool Storable(BlockId id) const;
  void CondemnOne(BlockId id, bool& reachable);
  void BeginEraseOne(BlockId id);
  void LeaveDiskOrder(BlockId id);
  // The RAM copy of a doomed block goes once nobody reads it.
  void ReleaseDoomed(BlockId id);

  StoreState& state_;
  RamResidency& ram_;
};

}  // namespace reprise::cachestore
