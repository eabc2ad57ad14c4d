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
      cache.Announce(*waiting++, chain);
    }
    trace.ChainOf(request, chain);
    tally.Add(request, chain.size(), cache.Serve(request, chain), trace.block_tokens);
  }
  return tally;
}

}  // namespace reprise::bench
