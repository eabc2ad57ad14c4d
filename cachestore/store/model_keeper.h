// ModelKeeper: keeps what the order of eviction has learned beside the blocks on disk, so that a
// store that is opened again goes on from there. What is learned between two saves is lost with the
// process, and nothing else is: the model only says which blocks go first.
//
// Thread-compatible: used by the one thread that writes to the disk tier.
#pragma once

#include <cstdint>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "cachestore/store/store_core.h"

namespace reprise::cachestore {

// Has `order` go on from what was saved in `tier`, if anything was. Call before it is told of a
// block. An error says why it begins anew instead; nothing else is the matter then. BLOCKS.
absl::Status RestoreModel(const BackingTier& tier, EvictionPolicy& order);

class ModelKeeper {
 public:
  // Saves every `interval`. REQUIRES: core has a tier; it outlives the keeper.
  ModelKeeper(StoreCore& core, absl::Duration interval);

  // When the next save is due; never, for an order that does not learn.
  absl::Time due() const { return due_; }
  // Saves what has been learned since the last save, if anything has. A save that fails counts in
  // failed_disk_writes, and the next one is due as usual. BLOCKS.
  void Save() ABSL_LOCKS_EXCLUDED(core_.mu);

 private:
  std::string Serialized() const ABSL_LOCKS_EXCLUDED(core_.mu);

  StoreCore& core_;
  const absl::Duration interval_;
  std::string saved_;
  absl::Time due_ = absl::InfiniteFuture();
};

}  // namespace reprise::cachestore
