// DiskResidency: decides about the disk tier: which blocks are written next and in which order,
// which are erased for them, and what the end of a load means. It does no I/O: Begin... says what
// to do, End... what came of it. Owns nothing but its place in a long chain; works on StoreState.
//
// What is on disk stays prefix-closed: a batch holds the missing ancestors of its blocks, parents
// first, and erases take children before parents. Only one thread writes to the disk tier, so no
// store and no erase overlap. A call looks at a bounded number of blocks, those that it takes
// aside. Thread-compatible: StoreCore::mu guards every call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/types/span.h"
#include "cachestore/policy/admission_policy.h"
#include "cachestore/store/candidates.h"
#include "cachestore/store/gpu_residency.h"
#include "cachestore/store/ram_residency.h"
#include "cachestore/store/store_state.h"

namespace reprise::cachestore {

// What the next batch is for.
struct StoreGoal {
  size_t max_blocks = 0;
  uint64_t max_bytes = 0;         // of payload; one block is always taken
  uint64_t wanted_bytes = 0;      // somebody waits for room for such a block; 0: nobody
  uint32_t share = kCommonShare;  // another one: its blocks alone
  // Blocks used after this moment of the policy are left alone.
  uint64_t moment = std::numeric_limits<uint64_t>::max();
};

// Blocks of one size and share, parents first, whose RAM copies are written next.
struct StoreBatch {
  std::vector<BlockId> blocks;
  uint64_t payload_bytes = 0;  // of each
  uint32_t share = kCommonShare;
  // The batch is empty, but the next call may find something.
  bool look_again = false;
};

// Disk copies that may go together or not at all, found in steps between which the lock is given
// up. REQUIRES: the thread that writes to the disk tier takes the steps and nothing in between, so
// that what is on disk stays there.
struct ErasedTogether {
  std::vector<BlockId> blocks;        // those asked for, and those below them: all on disk
  absl::flat_hash_set<BlockId> left;  // of them, not marked as being erased
  size_t looked_at = 0;               // of `blocks`
  size_t going_before = 0;            // the best victim of the size that needs room
  size_t next = 0;                    // of `blocks`, to be marked
  BlockId at = kNoBlock;              // on the way up from the last one

  bool done() const { return at == kNoBlock && next == blocks.size(); }
};

class DiskResidency {
 public:
  DiskResidency(StoreState& state, RamResidency& ram, GpuResidency& gpu,
                const AdmissionPolicy& admission)
      : state_(state), ram_(ram), gpu_(gpu), candidates_(state), admission_(&admission) {}

  // Whom it asks from now on; must outlive it, or be replaced before.
  void SetAdmission(const AdmissionPolicy& admission) { admission_ = &admission; }

  // Marks the blocks that only RAM holds and that go next as being stored, with their missing
  // ancestors. Blocks that are not admitted are marked as rejected instead.
  StoreBatch BeginStore(const StoreGoal& goal);
  void EndStore(const StoreBatch& batch);
  // Takes the blocks after the first `num_blocks` out of the batch: they will not be on disk.
  void ShrinkStore(StoreBatch& batch, size_t num_blocks);
  // The same, because the tenant's quota has no room for them: they are not admitted, nor are some
  // of those below them that would have come next.
  void RejectStore(StoreBatch& batch, size_t num_blocks);
  // The RAM copy of `id`, which is being stored, is not what was sealed: it is dropped, with what
  // is below it in RAM. Call after it was taken out of its batch.
  void DropCorrupt(BlockId id);

  // `id` has left its last tier without having been dropped: what is below it goes too.
  void DropLost(BlockId id);

  // Marks up to `count` disk copies of the size of `payload_bytes` as being erased, in the policy's
  // order, children before their parents. Copies in RAM and on the GPU go along.
  std::vector<BlockId> BeginErase(uint64_t payload_bytes, size_t count);
  // The same among all disk copies of the share, whatever their size, until their bytes are
  // `min_bytes` or `count` are marked.
  std::vector<BlockId> BeginEraseOfShare(uint32_t share, int64_t min_bytes, size_t count);
  // What the share takes of the disk beyond its quota; not positive: nothing.
  int64_t BytesBeyondQuota(uint32_t share) const;
  // The disk copy of another size that goes before all of the size of `payload_bytes`; kNoBlock
  // when there is none.
  BlockId OlderOfOtherSize(uint64_t payload_bytes) const;
  // Adds these disk copies; false when one of them is not in the index.
  bool AddTogether(absl::Span<const BlockKey> keys, ErasedTogether& together) const;
  // Looks at up to `count` of them, and adds those below; false when one may not go, or when they
  // become more than `max_blocks`.
  bool LookTogether(size_t count, uint64_t payload_bytes, size_t max_blocks,
                    ErasedTogether& together) const;
  // Looks at up to `count` of them again and marks those that may go now as being erased, children
  // first; returns these. REQUIRES: all were looked at.
  std::vector<BlockId> BeginEraseTogether(size_t count, ErasedTogether& together);
  // Marks up to `count` condemned disk copies that may go now as being erased, children first.
  std::vector<BlockId> BeginEraseCondemned(size_t count);
  void EndErase(const std::vector<BlockId>& blocks);
  // The disk may or may not have forgotten them: they are condemned.
  void AbortErase(const std::vector<BlockId>& blocks);
  // Whether the last batch of this size found the disk full; tells the admission.
  void NoteDiskFull(uint64_t payload_bytes, bool full);

  // A load of `id` begins, into the slot that is returned; nullopt when none can be taken now.
  // REQUIRES: readable on disk, not in RAM, not loading.
  std::optional<SlotIndex> BeginLoad(BlockId id);
  // The load succeeded; returns whether the block is readable in RAM now.
  bool EndLoad(BlockId id, SlotIndex slot);
  // The load failed, the disk copy may be good; returns whether the block is readable in RAM anyway
  // (sealed in the meantime).
  bool AbortLoad(BlockId id, SlotIndex slot);
  // The disk copy of `id` could not be read. The second time in a row it is condemned, so that a
  // good copy can take its place.
  void NoteIoError(BlockId id);
  // A new RAM copy of `id` was sealed: if the disk copy could not be read the last time, it is
  // condemned.
  void ReplaceUnreadable(BlockId id);
  // The disk copy of `id` is of no use, because of `why`. It and everything on disk below it is
  // condemned; copies in memory that cannot be reached any more are dropped, the pinned ones with
  // their last pin. Of what is below it a bounded number now, the others are orphans then: nothing
  // finds them.
  void Condemn(BlockId id, Removal why);
  // The same for up to `count` orphans.
  void CondemnOrphans(size_t count);
  // `id` alone leaves all tiers; while it is pinned or being stored its key cannot be sealed again.
  // Blocks below it must follow.
  void Invalidate(BlockId id);

 private:
  bool Storable(BlockId id) const;
  // Whether the parent of `id` is on disk, or will be before a batch that is begun now.
  bool ParentIsReady(BlockId id) const;
  bool IsFull(const StoreBatch& batch, const StoreGoal& goal) const;
  // The dirty blocks to begin with.
  std::vector<BlockId> NextToStore(const StoreGoal& goal);
  bool IsAdmitted(BlockId id) const;
  // Extends path_ upwards by a bounded number of blocks; true when its end may be stored.
  bool Climb();
  // `id` is missing below the GPU, so that what is below it cannot be stored.
  void WantBelowGpu(BlockId id);
  // Moves what may be stored from the end of path_ into the batch.
  void TakePath(const StoreGoal& goal, StoreBatch& batch);
  // `reachable`: every ancestor is in the store.
  void CondemnBelow(BlockId id, bool reachable, Removal why);
  // Condemns `id` and makes its children orphans.
  void CondemnAndOrphan(BlockId id, bool reachable, Removal why);
  void AddOrphan(BlockId id);
  void CondemnOne(BlockId id, bool reachable, Removal why);
  void DropUnreachable(BlockId id, Removal why);
  void Reject(BlockId id);
  void BeginEraseOne(BlockId id);
  // The RAM copy of a doomed block goes once nobody reads it.
  void ReleaseDoomed(BlockId id);

  StoreState& state_;
  RamResidency& ram_;
  GpuResidency& gpu_;
  Candidates candidates_;
  const AdmissionPolicy* admission_;
  // A block to be stored and its ancestors that are missing on disk, the block first. A chain may
  // be longer than a batch, so this is kept between calls, as a hint: each block is looked at
  // again before it is stored.
  std::vector<BlockId> path_;
  std::vector<bool> class_is_full_;  // by size class
};

}  // namespace reprise::cachestore
