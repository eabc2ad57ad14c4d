// SlabChooser: finds blocks of other sizes that lie side by side in RAM and may go for a block of a
// given size. It only proposes. Without it, sizes would keep the slabs that they got first,
// whatever is in them.
//
// A step looks at a bounded number of slabs and the next one goes on behind them. Owns nothing but
// its place; works on StoreState. Thread-compatible: StoreCore::mu guards every call.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "cachestore/store/candidates.h"

namespace reprise::cachestore {

class SlabChooser {
 public:
  explicit SlabChooser(StoreState& state) : state_(state), candidates_(state) {}

  // Blocks that may all be taken now, and with whose slots a block of `block_bytes` finds room.
  // `same` is the best victim of the wanted size, or kNoBlock: when there is one, at least half of
  // the blocks go before it. Empty when no such slab was found.
  std::vector<BlockId> BlocksToTake(uint64_t block_bytes, BlockId same);

  // Blocks that make room for `block_bytes` once those of them that only RAM holds are stored.
  std::vector<BlockId> BlocksToClean(uint64_t block_bytes);

 private:
  // The blocks in the way around `slot`, or nullopt when another slot is among them.
  std::optional<std::vector<BlockId>> BlocksAround(SlotIndex slot, uint64_t block_bytes) const;
  bool MayTakeAll(const std::vector<BlockId>& blocks) const;
  bool MayCleanAll(const std::vector<BlockId>& blocks) const;
  bool GoMostlyBefore(const std::vector<BlockId>& blocks, BlockId same) const;
  // The first blocks in the way that are `good`: around the RAM copy of `head`, then around the
  // next `num_slabs` slabs of the walk. Empty when there are none.
  template <typename Good>
  std::vector<BlockId> Find(uint64_t block_bytes, BlockId head, size_t num_slabs, Good good);

  StoreState& state_;
  Candidates candidates_;
  uint32_t cursor_ = 0;  // of SlotPool::NextSlab
};

}  // namespace reprise::cachestore
