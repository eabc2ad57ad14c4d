// Invalidator: takes blocks out of every tier on demand. It marks what the scope names, a bounded
// number of nodes under the lock at a time, and waits until the demoter has erased the disk copies.
//
// Fence: while it runs, and for blocks that were allocated before it ended, Seal in the namespaces
// concerned stays private. So a namespace gains no node meanwhile, and one look at every node finds
// all of them. Thread-compatible: one run at a time.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "cachestore/store/invalidate_report.h"
#include "cachestore/store/store_core.h"

namespace reprise::cachestore {

// The blocks to take away. Plain data.
struct InvalidateTarget {
  struct All {};
  struct Tenant {
    std::string name;
  };
  struct Namespace {
    uint32_t id = 0;
  };
  // The last block of a chain and everything below it.
  struct Below {
    uint32_t namespace_id = 0;
    absl::Span<const BlockKey> keys;   // one per block, root first, not empty
    absl::Span<const uint32_t> words;  // their contents
  };
  std::variant<All, Tenant, Namespace, Below> scope;
};

class Invalidator {
 public:
  // `core` outlives the invalidator.
  explicit Invalidator(StoreCore& core) : core_(core) {}

  // See TieredStore::Invalidate. BLOCKS.
  absl::StatusOr<InvalidateReport> Run(const InvalidateTarget& target, absl::Time deadline)
      ABSL_LOCKS_EXCLUDED(core_.mu);

 private:
  enum class Place : uint8_t { kUnknown, kBelow, kElsewhere };

  // Finds out what the target is and closes its namespaces for new blocks.
  void CloseFence(const InvalidateTarget& target) ABSL_LOCKS_EXCLUDED(core_.mu);
  // The last block of the chain, whether it is in the store or only held by its readers; kNoBlock
  // when there is none.
  BlockId FindTop(const InvalidateTarget::Below& below) const ABSL_SHARED_LOCKS_REQUIRED(core_.mu);
  void OpenFence() ABSL_LOCKS_EXCLUDED(core_.mu);
  // Looks at every node once, whatever the deadline: between the steps a block may be in the store
  // without its parent.
  void TakeBlocks() ABSL_LOCKS_EXCLUDED(core_.mu);
  bool IsTarget(BlockId id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  // Whether `id` is top_ or below it. Remembers the answer for all blocks in between.
  bool IsBelowTop(BlockId id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  void TakeOne(BlockId id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu);
  // Waits until no disk copy in the namespaces is left to erase, not of a failed write either;
  // false when `deadline` comes first.
  bool AwaitErased(absl::Time deadline) ABSL_LOCKS_EXCLUDED(core_.mu);

  StoreCore& core_;
  // Of the run under way.
  std::vector<bool> namespaces_;  // by id: concerned
  bool whole_namespaces_ = true;  // not only what is below top_
  BlockId top_ = kNoBlock;        // kNoBlock: there is no such chain
  std::vector<Place> places_;     // by block id
  InvalidateReport report_;
};

}  // namespace reprise::cachestore
