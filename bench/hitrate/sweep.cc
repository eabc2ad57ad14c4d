#include "bench/hitrate/sweep.h"

#include <time.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "absl/strings/str_format.h"
#include "bench/hitrate/bounds.h"
#include "bench/hitrate/index_cost.h"
#include "bench/hitrate/lru_curve.h"
#include "bench/hitrate/use_runs.h"
#include "cachestore/base/check.h"

namespace reprise::bench {
namespace {

using cachestore::TraceRequestType;

int64_t CapacityOf(double percent, int64_t num_blocks) {
  const double blocks = percent / 100 * static_cast<double>(num_blocks);
  return std::max<int64_t>(1, std::llround(blocks));
}

bool MostAreOf(const cachestore::Trace& trace, TraceRequestType a, TraceRequestType b) {
  const auto count = std::count_if(trace.requests.begin(), trace.requests.end(),
                                   [&](const cachestore::TraceRequest& request) {
                                     return request.type == a || request.type == b;
                                   });
  return 2 * static_cast<size_t>(count) > trace.requests.size();
}

SweepCell Measure(const cachestore::Trace& trace, BlockCache& cache, int64_t capacity,
                  const LruCurve& lru) {
  SweepCell cell;
  const double begin = CpuSeconds();
  cell.tally = Replay(trace, cache);
  cell.seconds = CpuSeconds() - begin;
  if (const std::optional<int64_t> needed = lru.CapacityFor(cell.tally.hit_blocks)) {
    cell.lru_memory = static_cast<double>(*needed) / static_cast<double>(capacity);
  }
  return cell;
}

}  // namespace

double CpuSeconds() {
  timespec now = {};
  CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

bool IsPooled(double percent) {
  return std::find(std::begin(kPooledPercents), std::end(kPooledPercents), percent) !=
         std::end(kPooledPercents);
}

bool IsChat(const cachestore::Trace& trace) {
  return MostAreOf(trace, TraceRequestType::kUnknown, TraceRequestType::kChat);
}

bool IsAgent(const cachestore::Trace& trace) {
  return MostAreOf(trace, TraceRequestType::kMain, TraceRequestType::kSide);
}

std::vector<double> PercentsOf(const std::vector<double>& percents,
                               const std::vector<int64_t>& blocks, size_t num_blocks) {
  std::vector<double> all = percents;
  for (const int64_t capacity : blocks) {
    all.push_back(100 * static_cast<double>(capacity) / static_cast<double>(num_blocks));
  }
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

Sweep RunSweep(const cachestore::Trace& trace, const std::vector<ReplayPolicy>& policies,
               const std::vector<double>& percents, MakeRoom make_room, const SweepStep& step) {
  CHECK(trace.num_blocks() > 0);
  Sweep sweep;
  sweep.trace = trace.name;
  sweep.is_chat = IsChat(trace);
  sweep.is_agent = IsAgent(trace);
  sweep.num_blocks = static_cast<int64_t>(trace.num_blocks());
  sweep.percents = percents;
  step(absl::StrCat(trace.name, ", bounds"));
  const LruCurve lru(trace);
  const UseRuns next_uses = UseRuns::Next(trace);
  sweep.infinite = InfiniteCache(trace);
  sweep.infinite_of_tokens = InfiniteCacheOfTokens(trace);
  for (const double percent : percents) {
    const int64_t capacity = CapacityOf(percent, sweep.num_blocks);
    sweep.capacities.push_back(capacity);
    sweep.lru_hits.push_back(lru.HitsAt(capacity));
    sweep.optimum.push_back(Optimum(trace, next_uses, capacity));
    sweep.cost_bound.push_back(CostBound(trace, next_uses, capacity));
  }
  for (const ReplayPolicy& policy : policies) {
    Sweep::Line line = {.policy = policy.name};
    for (size_t c = 0; c < percents.size(); ++c) {
      step(absl::StrFormat("%s, %s, %g %%", trace.name, policy.name, percents[c]));
      const auto cache = policy.make(trace, sweep.capacities[c], make_room);
      line.cells.push_back(Measure(trace, *cache, sweep.capacities[c], lru));
      if (policy.name != kDefaultPolicy || !IsPooled(percents[c])) continue;
      line.cells.back().index_seconds = SecondsOfIndex(trace, sweep.capacities[c], make_room);
    }
    sweep.lines.push_back(std::move(line));
  }
  return sweep;
}

}  // namespace reprise::bench
