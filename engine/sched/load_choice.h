// Load or recompute: how much of its cached prefix a sequence loads, and how long it waits for it.
//
// The prefix ends where the wait for loads and the computing of what is behind it are predicted to
// be over soonest. While prompts ahead are prefilled, the sequence would wait anyway, so loading
// costs nothing then. What is chosen is given up once computing it would have been over: so a load
// that stalls costs a request at most the time that it would have taken without a cache, once more.
#pragma once

#include <cstdint>

#include "absl/time/time.h"
#include "cachestore/store/load_forecast.h"
#include "cachestore/store/pin_ticket.h"

namespace reprise::engine {

// What of a cached prefix is loaded.
enum class PrefixLoading {
  kWhereFaster,  // as above
  kAlways,       // everything, which leaves the processor to others
};

// How long computing takes.
struct ComputeForecast {
  absl::Duration queue;      // prefill of others, before anything of this sequence
  absl::Duration per_block;  // then for each block
  // There is no other sequence, which would run meanwhile, or be held up by a step that waits.
  bool is_alone = false;
};

struct LoadChoice {
  int64_t num_blocks = 0;          // to pin, from the first that the sequence lacks
  int64_t passed_over_blocks = 0;  // cached, behind those: computing them is sooner done
  absl::Duration patience = absl::InfiniteDuration();  // what is not loaded by then is computed
  // By layer: a step that computes what is behind the prefix may begin at once. It waits so long
  // for the prefix at most; after that, no step begins before all of it is there.
  cachestore::LoadOrder order = cachestore::LoadOrder::kByBlock;
  absl::Duration arrival_patience;
};

// What to pin of the matched blocks from `first_block` on.
LoadChoice ChooseLoad(const cachestore::LoadForecast& load, int64_t first_block,
                      const ComputeForecast& compute);

}  // namespace reprise::engine
