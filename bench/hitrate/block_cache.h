// BlockCache: a bounded cache of equal blocks that traces are replayed against. Time is virtual: a
// request is over before the next one comes. Thread-compatible.
#pragma once

#include <cstddef>

#include "absl/types/span.h"
#include "bench/hitrate/tally.h"
#include "cachestore/policy/miss_ratio_curve.h"
#include "cachestore/trace/trace.h"

namespace reprise::bench {

class BlockCache {
 public:
  virtual ~BlockCache() = default;
  // How long before it is served a request is announced; 0: none is.
  virtual int64_t queue_ms() const { return 0; }
  // A request waits that will be served next after those that were announced before.
  virtual void Announce(const cachestore::TraceRequest&,
                        absl::Span<const cachestore::BlockNumber> /*chain*/) {}
  // The next request, for the blocks of `chain`, root first. Returns how many of the first ones
  // were there when it came; which ones are there afterwards is the cache's decision. One that is
  // no lookup (TraceRequest) brings its blocks, and what it returns is nobody's hit.
  virtual size_t Serve(const cachestore::TraceRequest& request,
                       absl::Span<const cachestore::BlockNumber> chain) = 0;
  // The order in which it gives up blocks, for a SampledCurve; null: LRU's, or not known.
  virtual cachestore::PlaceInOrder Places() { return nullptr; }
};

// Replays the whole trace against `cache`.
Tally Replay(const cachestore::Trace& trace, BlockCache& cache);

}  // namespace reprise::bench
