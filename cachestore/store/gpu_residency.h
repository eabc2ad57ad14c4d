// GpuResidency: decides about the GPU tier: which slot a block gets, what is evicted or dropped for
// it, what a seal, a pin and a copy between GPU and RAM mean. It copies nothing: Begin... says what
// to copy, End... what came of it. Owns nothing but its place in a long chain; works on StoreState.
//
// What orders the copies (Device): a copy to RAM awaits `written` of its block. A slot that is
// freed may still be used by steps that were given to the compute lane before; last_freed() is
// behind all of them, so a copy into a slot awaits that. A block that is being copied to RAM is
// held.
//
// The block that the policy says goes first; one of another size only when none of the wanted size
// may go. Thread-compatible: StoreCore::mu guards every call.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "cachestore/memory/device.h"
#include "cachestore/store/candidates.h"
#include "cachestore/store/ram_residency.h"
#include "cachestore/store/sealing.h"
#include "cachestore/store/store_state.h"

namespace reprise::cachestore {

// A block on its way from the GPU to a slot in RAM.
struct Fetch {
  BlockId id = kNoBlock;
  SlotIndex ram_slot = kNoSlot;
  CopyPiece piece;
  Moment written;             // what the copy awaits
  uint64_t payload_hash = 0;  // what the XXH3-64 of the bytes must be; 0: not known
};

// What has become of a block that was copied to RAM.
enum class FetchEnd {
  kReadable,  // it is in RAM now
  kGone,      // it is not, and nobody finds it there: given up, invalidated or lost meanwhile
  kCorrupt,  // the bytes are not those that came to the GPU: its copy is still there, to be dropped
};

// The XXH3-64 of each one's bytes in RAM, where they have landed: with `of_all`, because the disk
// wants them all, or else where it is known what it must be, and 0. Reads the bytes: not under the
// store's lock.
std::vector<uint64_t> HashFetched(absl::Span<const Fetch> fetches, bool of_all);

// What is copied to RAM next.
struct FetchGoal {
  size_t max_blocks = 0;
  uint64_t max_bytes = 0;
  // Blocks used after this moment of the policy are left alone.
  uint64_t moment = std::numeric_limits<uint64_t>::max();
};

struct FetchBatch {
  std::vector<Fetch> fetches;              // parents first
  std::optional<uint32_t> wanted_ram_for;  // a block of this namespace found no slot in RAM
  std::optional<uint32_t> beyond_quota;    // nor did one of this, by its tenant's quota alone
  // The batch is empty, but the next call may find something.
  bool look_again = false;
};

class GpuResidency {
 public:
  // `device` is null where there is no GPU tier; it and the others outlive this.
  GpuResidency(StoreState& state, RamResidency& ram, Device* device)
      : state_(state), ram_(ram), candidates_(state), device_(device) {}

  // As of RamResidency; none once the tier is closed.
  std::optional<SlotIndex> AllocateSlot(uint32_t namespace_id);
  bool MakeRoom(uint64_t block_bytes);
  // Whether some block that is not held may be evicted now, or after a copy to RAM.
  bool HasCandidates() const;
  // Whether the bytes that are free, or clean and go before what is not, are less than `bytes`.
  bool HasLessReadyThan(int64_t bytes) const;
  // Gives back a slot that no block owns, whatever still uses it.
  void FreeSlot(SlotIndex slot);
  Moment last_freed() { return MomentOf(state_.gpu.freed); }

  // Makes the block in the (writing) slot readable and pins it, as RamResidency::Seal. What has
  // been given to the compute lane by now has written it.
  BlockId Seal(const SealRequest& request);
  void Pin(BlockId id);
  // Gives one pin back; the last one makes the block evictable, or ends it if only pins kept it.
  void Unpin(BlockId id);
  // Frees the slot of `id`, which is not held.
  void Release(BlockId id, Removal why = Removal::kEvicted);

  // A copy of `id` from RAM begins, into the slot that is returned; nullopt when none can be taken
  // now.
  std::optional<SlotIndex> BeginLoad(BlockId id);
  // It has ended well; returns whether the block is readable on the GPU now.
  bool EndLoad(BlockId id, SlotIndex slot);
  // It will not come, or has failed.
  void AbortLoad(SlotIndex slot);

  // A copy of `id` to RAM begins; nullopt when no RAM slot can be taken now. REQUIRES: readable on
  // the GPU, not in RAM, not being fetched.
  std::optional<Fetch> BeginFetch(BlockId id);
  // It has ended well, and the XXH3-64 of the bytes in RAM is `payload_hash`, which may be left out
  // (0) where that of the fetch is not known.
  FetchEnd EndFetch(const Fetch& fetch, uint64_t payload_hash);
  // It has failed, and so has the device: the RAM slot is not used again, because nobody knows when
  // the device stops writing into it.
  void AbortFetch(const Fetch& fetch);
  bool IsFetching(BlockId id) const {
    return state_.index.node(id).in_gpu && state_.gpu.copies.at(id).fetching;
  }

  // Begins copies to RAM of the blocks that only the GPU has and that go next, with their missing
  // ancestors.
  FetchBatch BeginWriteBack(const FetchGoal& goal);
  // The device has failed. Gives up all copies, so that only pins on them are left; returns the
  // blocks that no other tier has, those in the store being counted as lost.
  std::vector<BlockId> Close();
  // Takes up to `count` victims in order, those that were not used after `moment`; returns how
  // many.
  int64_t TakeVictims(int64_t count, Victims victims, uint64_t moment);

 private:
  // The next mark, which is behind all steps given so far; and the moment of one, or a later one.
  // Marking may wait for a step, so it is not done for each block.
  uint64_t NextMark() const { return state_.gpu.num_marks + 1; }
  Moment MomentOf(uint64_t mark);
  void Attach(BlockId id, const GpuCopy& copy);
  void UnpinLost(absl::flat_hash_map<BlockId, GpuCopy>::iterator lost);
  // Nobody holds `id` any more: it stays, or goes if only that kept it.
  void EndUse(BlockId id);
  BlockId Victim(uint64_t block_bytes) const;
  void Take(BlockId id);
  // Whether only the GPU has `id`, so that it can be copied to RAM.
  bool Dirty(BlockId id) const;
  void EndFetching(const Fetch& fetch);
  std::optional<Fetch> BeginFetchInto(BlockId id, std::optional<SlotIndex> ram_slot);
  // As of DiskResidency: extends path_ upwards; moves what may be fetched into the batch.
  bool Climb();
  void TakePath(const FetchGoal& goal, FetchBatch& batch);
  bool IsFull(const FetchBatch& batch, const FetchGoal& goal) const;

  StoreState& state_;
  RamResidency& ram_;
  Candidates candidates_;
  Device* const device_;
  // A block to be copied to RAM and its ancestors that only the GPU has, the block first. Kept
  // between calls, as a hint.
  std::vector<BlockId> path_;
};

}  // namespace reprise::cachestore
