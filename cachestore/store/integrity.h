// The consistency check behind TieredStore::CheckIntegrity().
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "cachestore/store/store_state.h"
#include "cachestore/tier/backing_tier.h"

namespace reprise::cachestore {

// Compares index, pool, policies and counts with each other, node by node and then in sum. May be
// spread over several holds of the lock; what it finds means something only when the state has not
// changed between the first step and the last. Thread-compatible.
class StateCheck {
 public:
  // `state` outlives the check.
  explicit StateCheck(const StoreState& state);

  // Checks up to `count` nodes more. kInternal names the first disagreement.
  absl::Status Step(size_t count);
  // True when Step has seen all nodes.
  bool done() const { return next_ == kNoBlock; }
  // Compares the sums. kInternal as above. REQUIRES: done().
  absl::Status Finish() const;

 private:
  struct Totals {
    int64_t nodes = 0;
    int64_t in_ram = 0;
    int64_t on_disk = 0;
    int64_t storing = 0;
    int64_t erasing = 0;
    int64_t condemned = 0;
    int64_t pinned = 0;
    int64_t loading = 0;
    int64_t orphans = 0;
    int64_t verifying = 0;
    std::vector<TierCounts> in_tiers;      // by namespace id
    std::vector<TierCounts> held;          // the same: bytes of slots, and disk copies
    std::vector<int64_t> candidates;       // by set
    std::vector<int64_t> clean_of_shares;  // by number
    std::vector<int64_t> twice_held;       // the same: bytes of RAM with what is on disk too
    int64_t in_gpu = 0;
    int64_t pinned_on_gpu = 0;
    int64_t gpu_bytes = 0;  // slots of the blocks on the GPU
    int64_t gpu_clean_bytes = 0;
    int64_t clean_bytes = 0;
    int64_t ram_bytes = 0;  // slots of the blocks in RAM
  };

  absl::Status CheckNode(BlockId id);
  absl::Status CheckGpuCopy(BlockId id);
  absl::Status FinishGpu() const;
  absl::Status FinishBook() const;
  absl::Status FinishShares() const;
  absl::Status CheckOrders(BlockId id);

  const StoreState& state_;
  Totals totals_;
  BlockId next_ = 0;
};

// All of a StateCheck at once.
absl::Status CheckState(const StoreState& state);

// That the tier keeps to its budget and holds as many blocks as the index says, unless a write is
// under way. kInternal names the disagreement.
absl::Status CheckTierCounts(const StoreState& state, const BackingTier& tier);

// The same, and that every block in the tier is one of the index's; not while a write is under way
// (the tier is ahead of the index then, or behind it). kInternal names the first disagreement;
// other errors are the tier's. BLOCKS.
absl::Status CheckTier(const StoreState& state, BackingTier& tier);

}  // namespace reprise::cachestore
