// LoadChooser: chooses for each sequence what of its cached prefix is loaded (load_choice.h), going
// by the store's forecast of loads and by how fast this engine's steps were. Engine-thread only.
#pragma once

#include <cstdint>

#include "absl/time/time.h"
#include "cachestore/store/tiered_store.h"
#include "engine/sched/load_choice.h"
#include "engine/sched/prefill_rate.h"
#include "engine/sched/sequence.h"

namespace reprise::engine {

class LoadChooser {
 public:
  // `store` must outlive the chooser. No load is waited for longer than `load_timeout`.
  LoadChooser(const cachestore::TieredStore* store, PrefixLoading loading,
              absl::Duration load_timeout)
      : store_(store), loading_(loading), load_timeout_(load_timeout) {}

  PrefillRate& prefill_rate() { return prefill_rate_; }
  const PrefillRate& prefill_rate() const { return prefill_rate_; }

  // `tokens_ahead`: of prompts that are prefilled before the sequence; `is_alone`: as in
  // ComputeForecast. Before a step has told how fast this engine is, everything is loaded.
  LoadChoice Choose(const Sequence& sequence, int64_t tokens_ahead, bool is_alone) const;

 private:
  const cachestore::TieredStore* const store_;
  const PrefixLoading loading_;
  const absl::Duration load_timeout_;
  PrefillRate prefill_rate_;
};

}  // namespace reprise::engine
