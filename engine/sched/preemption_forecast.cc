#include "engine/sched/preemption_forecast.h"

namespace reprise::engine {

using cachestore::BlockKey;
using cachestore::BlockRef;

void PreemptionForecast::GiveBack(const Sequence& sequence) {
  freed_blocks_ += sequence.num_writable_blocks();
  for (const BlockRef& block : sequence.sealed_blocks()) {
    if (++given_back_[block.key()] == account_->CountPins(block.key())) ++freed_blocks_;
  }
}

int64_t PreemptionForecast::CountHeld(absl::Span<const BlockKey> keys) const {
  int64_t held = 0;
  for (const BlockKey& key : keys) {
    const auto it = given_back_.find(key);
    if (account_->CountPins(key) == (it == given_back_.end() ? 0 : it->second)) break;
    ++held;
  }
  return held;
}

}  // namespace reprise::engine
