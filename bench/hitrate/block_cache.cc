#include "bench/hitrate/block_cache.h"

#include <vector>

namespace reprise::bench {

Tally Replay(const cachestore::Trace& trace, BlockCache& cache) {
  Tally tally;
  std::vector<cachestore::BlockNumber> chain;
  auto waiting = trace.requests.begin();
  for (const cachestore::TraceRequest& request : trace.requests) {
    while (cache.queue_ms() > 0 && waiting != trace.requests.end() &&
           waiting->time_ms <= request.time_ms + cache.queue_ms()) {
      trace.ChainOf(*waiting, chain);
      if (waiting->is_lookup()) cache.Announce(*waiting, chain);
      ++waiting;
    }
    trace.ChainOf(request, chain);
    const size_t hits = cache.Serve(request, chain);
    if (request.is_lookup()) tally.Add(request, chain.size(), hits, trace.block_tokens);
  }
  return tally;
}

}  // namespace reprise::bench
