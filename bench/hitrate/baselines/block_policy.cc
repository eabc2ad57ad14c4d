#include "bench/hitrate/baselines/block_policy.h"

namespace reprise::bench {

size_t PlainCache::Serve(const cachestore::TraceRequest& request,
                         absl::Span<const cachestore::BlockNumber> chain) {
  size_t hits = 0;
  while (hits < chain.size() && policy_->Contains(chain[hits])) ++hits;
  const absl::Span<const cachestore::BlockNumber> used =
      chain.first(chain.size() < capacity_ ? chain.size() : capacity_);
  policy_->BeginRequest(request, chain);
  for (size_t i = used.size(); i-- > 0;) {
    policy_->Use({used[i], static_cast<uint32_t>(i), request.time_ms});
  }
  return hits;
}

}  // namespace reprise::bench
