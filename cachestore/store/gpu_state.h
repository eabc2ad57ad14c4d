// GpuState: what the store knows about the GPU tier, beside the bits of index nodes. Plain data,
// part of StoreState; GpuResidency changes it.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/types/span.h"
#include "cachestore/block/block_id.h"
#include "cachestore/memory/device.h"
#include "cachestore/pool/slot_pool.h"

namespace reprise::cachestore {

// Which blocks may be taken for their slots in a tier.
enum class Victims {
  kClean,  // those that lose nothing by it: a lower tier has them too, or they are not worth it
  kCleanOrLast,  // also last copies: there is no lower tier, or it takes nothing
};

// A readable copy in device memory.
struct GpuCopy {
  SlotIndex slot = kNoSlot;
  // The bytes are there once the mark of this number has passed (GpuResidency::MomentOf).
  uint64_t written = 0;
  uint64_t payload_hash = 0;  // RamCopy's, of the bytes that came from RAM or went there; 0: none
  uint32_t pins = 0;          // of BlockRefs and tickets
  bool fetching = false;      // it is being copied to RAM
};

struct GpuState {
  explicit GpuState(absl::Span<std::byte> memory) : pool(memory) {}

  int64_t capacity_bytes() const { return pool.capacity_bytes(); }

  SlotPool pool;                                     // its memory is the device's: never followed
  absl::flat_hash_map<BlockId, GpuCopy> copies;      // of the blocks readable on the GPU
  absl::flat_hash_map<SlotIndex, uint64_t> writing;  // slot of a WritableBlock -> its epoch
  absl::flat_hash_set<SlotIndex> loading;            // slots that copies from RAM write into
  // Marks on Lane::kCompute are taken when a copy needs one, and one is for all that came before
  // it: how many there were, the last one, and the number of that behind the steps that used a slot
  // that is free now.
  uint64_t num_marks = 0;
  Moment last_mark;
  uint64_t freed = 0;
  // The device has failed: a tier that is closed holds no copies, and none is made. What was pinned
  // then, until its last pin goes; each of these keeps one pin on its node.
  bool closed = false;
  absl::flat_hash_map<BlockId, GpuCopy> lost;
  Victims victims = Victims::kClean;
  // RAM is full of blocks that cannot go to disk before what only the GPU has: last copies may be
  // taken there, to make room once for one of these, while it is looked for.
  bool takes_last_of_ram = false;
  bool looks_for_ram = false;
  int64_t pinned_blocks = 0;
  int64_t clean_bytes = 0;       // of the blocks in the sets of CandidateKind::kGpuClean
  int64_t clean_tail_bytes = 0;  // as StoreState::clean_tail_bytes
  uint64_t wanted_bytes = 0;     // block bytes that an allocation failed for; 0 when none waits
  // Blocks that only the GPU has and that must be in RAM before their children can go to disk.
  std::vector<BlockId> wanted_below;
};

}  // namespace reprise::cachestore
