#include "bench/hitrate/use_runs.h"

#include <algorithm>

namespace reprise::bench {

UseRuns::UseRuns(const cachestore::Trace& trace, bool next) {
  const size_t num_requests = trace.requests.size();
  places_.resize(num_requests);
  std::vector<uint32_t> neighbour(trace.num_blocks(), kNone);  // by block: the use found last
  for (size_t step = 0; step < num_requests; ++step) {
    const size_t i = next ? num_requests - 1 - step : step;
    const size_t begin = runs_.size();
    cachestore::BlockNumber block = trace.requests[i].last;
    for (; block != cachestore::kNoBlockNumber; block = trace.parents[block]) {
      const uint32_t use = neighbour[block];
      if (runs_.size() == begin || runs_.back().request != use) runs_.push_back({use, 0});
      ++runs_.back().count;
      neighbour[block] = static_cast<uint32_t>(i);
    }
    std::reverse(runs_.begin() + static_cast<std::ptrdiff_t>(begin), runs_.end());
    places_[i] = {begin, runs_.size() - begin};
  }
}

}  // namespace reprise::bench
