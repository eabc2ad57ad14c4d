// BlockBudget: how many blocks, of the tier that is computed on, the engine's sequences may need,
// one by one and together.
//
// A request is taken only if its worst case fits into usable_blocks() alone, and the scheduler
// keeps what the sequences hold together below that. So one of them can always reach its end,
// whatever the others gave up for it: running sequences cannot lock each other out. Immutable,
// thread-safe.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "cachestore/store/tier.h"
#include "engine/sched/request.h"

namespace reprise::engine {

class BlockBudget {
 public:
  // `capacity_blocks`: of `tier`, which is computed on, in blocks of `block_tokens` tokens.
  // `max_positions`: the model's context.
  BlockBudget(int64_t capacity_blocks, int32_t block_tokens, int64_t max_positions,
              cachestore::Tier tier = cachestore::Tier::kRam);

  // What sequences may use together. The rest is left to blocks that are pinned for other reasons:
  // calls of the cache service, and loads that were given up and are still under way.
  int64_t usable_blocks() const { return usable_blocks_; }
  // Blocks of the longest sequence that `request` can become.
  int64_t WorstCaseBlocks(const GenerateRequest& request) const;
  // kFailedPrecondition, naming both numbers and what to change, when `request` does not even fit
  // alone: no later time is better.
  absl::Status CheckFits(const GenerateRequest& request) const;

 private:
  const int64_t usable_blocks_;
  const int64_t block_tokens_;
  const int64_t max_positions_;
  const cachestore::Tier tier_;
};

}  // namespace reprise::engine
