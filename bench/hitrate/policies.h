// The policies that traces can be replayed against, by name.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bench/hitrate/block_cache.h"
#include "bench/hitrate/store_cache.h"
#include "cachestore/policy/eviction_policy.h"
#include "cachestore/trace/trace.h"

namespace reprise::bench {

// What the store runs with, if it is not told otherwise.
inline constexpr char kDefaultPolicy[] = "reuse";
// The same, told how answers and sessions end.
inline constexpr char kPolicyWithHints[] = "reuse+hints";

struct ReplayPolicy {
  std::string name;
  // A cache of `capacity` blocks, for the blocks of `trace`. `make_room` matters to those of the
  // store alone: the others have a way of their own.
  std::function<std::unique_ptr<BlockCache>(const cachestore::Trace& trace, int64_t capacity,
                                            MakeRoom make_room)>
      make;
  // One of cachestore/policy; null for published policies.
  PolicyMaker make_eviction;
};

// Those of the store first, then published ones.
const std::vector<ReplayPolicy>& ReplayPolicies();

}  // namespace reprise::bench
