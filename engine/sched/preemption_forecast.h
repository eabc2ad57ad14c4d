// PreemptionForecast: what sequences would hold together if some of them gave their blocks back. A
// block comes free when the last one that pins it is gone. Nothing is given back in fact; good
// until the account changes. Engine-thread only.
#pragma once

#include <cstdint>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"
#include "cachestore/block/block_key.h"
#include "engine/sched/block_account.h"
#include "engine/sched/sequence.h"

namespace reprise::engine {

class PreemptionForecast {
 public:
  // `account` must outlive the forecast.
  explicit PreemptionForecast(const BlockAccount* account) : account_(account) {}

  // As if `sequence` gave back all that it holds. Once for each sequence.
  void GiveBack(const Sequence& sequence);

  // Slots that would come free, and that would still be held.
  int64_t freed_blocks() const { return freed_blocks_; }
  int64_t held_blocks() const { return account_->held_blocks() - freed_blocks_; }
  // How many of the leading `keys` would still be held.
  int64_t CountHeld(absl::Span<const cachestore::BlockKey> keys) const;

 private:
  const BlockAccount* const account_;
  absl::flat_hash_map<cachestore::BlockKey, int64_t> given_back_;  // pins
  int64_t freed_blocks_ = 0;
};

}  // namespace reprise::engine
