#include "bench/hitrate/policies.h"

#include <utility>

#include "bench/hitrate/baselines/baselines.h"
#include "bench/hitrate/tally.h"
#include "cachestore/policy/lru_policy.h"
#include "cachestore/policy/reuse_policy.h"

namespace reprise::bench {
namespace {

using cachestore::Trace;

// Of requests that wait in a queue.
constexpr int64_t kQueueMs = 10'000;

ReplayPolicy OfStore(const std::string& name, const PolicyMaker& make,
                     const FeedOptions& options = {}) {
  return {.name = name,
          .make =
              [make, options](const Trace& trace, int64_t capacity, MakeRoom make_room) {
                return std::make_unique<StoreCache>(make, trace, capacity, make_room, options);
              },
          .make_eviction = make};
}

std::unique_ptr<cachestore::EvictionPolicy> MakeLru() {
  return std::make_unique<cachestore::LruPolicy>();
}

std::unique_ptr<cachestore::EvictionPolicy> MakeReuse() {
  return std::make_unique<cachestore::ReusePolicy>();
}

std::unique_ptr<cachestore::EvictionPolicy> MakeReuseByCost() {
  return std::make_unique<cachestore::ReusePolicy>(kAttentionEqualsProducts);
}

ReplayPolicy Published(const std::string& name,
                       std::unique_ptr<BlockPolicy> (*make)(size_t num_blocks, int64_t capacity)) {
  return {.name = name, .make = [make](const Trace& trace, int64_t capacity, MakeRoom) {
            return std::make_unique<PlainCache>(make(trace.num_blocks(), capacity), capacity);
          }};
}

}  // namespace

const std::vector<ReplayPolicy>& ReplayPolicies() {
  static const auto* const policies = new std::vector<ReplayPolicy>{
      OfStore("lru", MakeLru),
      OfStore(kDefaultPolicy, MakeReuse),
      OfStore("reuse+queue", MakeReuse, {.queue_ms = kQueueMs}),
      OfStore(kPolicyWithHints, MakeReuse, {.tells_hints = true}),
      OfStore("reuse+cost", MakeReuseByCost),
      Published("fifo", MakeFifo),
      Published("lfu", MakeLfu),
      Published("lru-2", MakeLru2),
      Published("slru", MakeSlru),
      Published("2q", MakeTwoQ),
      Published("arc", MakeArc),
      Published("gdsf", MakeGdsf),
      Published("w-tinylfu", MakeWTinyLfu),
      Published("s3-fifo", MakeS3Fifo),
      Published("sieve", MakeSieve),
      Published("wild", MakeWild),
  };
  return *policies;
}

}  // namespace reprise::bench
