#include "bench/hitrate/bounds.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"

namespace reprise::bench {
namespace {

using cachestore::BlockNumber;
using cachestore::kNoBlockNumber;
using cachestore::Trace;
using cachestore::TraceRequest;

// Calls `served` with the hits of each lookup of a cache that keeps what is used next, of the
// blocks with at least `least_depth` blocks before them.
void KeepNextUses(const Trace& trace, const UseRuns& next_uses, int64_t capacity,
                  uint32_t least_depth,
                  absl::FunctionRef<void(size_t request, int64_t hits)> served) {
  std::vector<int64_t> kept(
      trace.requests.size());              // by request: blocks there whose next use it is
  std::priority_queue<uint32_t> furthest;  // requests that some are, or were, kept for
  int64_t size = 0;
  for (size_t i = 0; i < trace.requests.size(); ++i) {
    if (trace.requests[i].is_lookup()) served(i, kept[i]);
    size -= kept[i];
    kept[i] = 0;
    uint32_t depth = 0;
    for (const UseRun& run : next_uses.Of(i)) {
      const uint32_t end = depth + run.count;
      const int64_t count = int64_t{end} - std::max(depth, std::min(end, least_depth));
      depth = end;
      if (run.request == UseRuns::kNone || count == 0) continue;
      // Kept for what brings them anyway, they would be of no use.
      if (!trace.requests[run.request].is_lookup()) continue;
      if (kept[run.request] == 0) furthest.push(run.request);
      kept[run.request] += count;
      size += count;
    }
    while (size > capacity) {
      int64_t& last = kept[furthest.top()];
      const int64_t gone = std::min(last, size - capacity);
      last -= gone;
      size -= gone;
      if (last == 0) furthest.pop();
    }
  }
}

// Calls `served` for each lookup with the hits of a cache that keeps all that came, and the last
// block of them (kNoBlockNumber: there are none).
void ServeAllThatCame(
    const Trace& trace,
    absl::FunctionRef<void(const TraceRequest&, size_t hits, BlockNumber last_hit)> served) {
  BlockNumber num_seen = 0;  // all smaller numbers came before
  for (const TraceRequest& request : trace.requests) {
    size_t hits = trace.NumBlocksOf(request);
    BlockNumber block = request.last;
    for (; block != kNoBlockNumber && block >= num_seen; block = trace.parents[block]) --hits;
    if (request.is_lookup()) served(request, hits, block);
    if (block != request.last) num_seen = request.last + 1;
  }
}

// What a whole block at this depth is worth, in tokens at position 0.
double BlockCost(int64_t depth, int32_t block_tokens) {
  const auto tokens = static_cast<double>(block_tokens);
  return PrefillCost(static_cast<double>(depth + 1) * tokens) -
         PrefillCost(static_cast<double>(depth) * tokens);
}

}  // namespace

Tally InfiniteCache(const Trace& trace) {
  Tally tally;
  ServeAllThatCame(trace, [&](const TraceRequest& request, size_t hits, BlockNumber) {
    tally.Add(request, trace.NumBlocksOf(request), hits, trace.block_tokens);
  });
  return tally;
}

Tally InfiniteCacheOfTokens(const Trace& trace) {
  Tally tally;
  // By the last full block of a prompt.
  struct Turn {
    uint64_t session = 0;
    int64_t tokens = 0;  // of prompt and answer
  };
  absl::flat_hash_map<BlockNumber, Turn> turns;
  std::vector<bool> shared(trace.num_blocks());  // used by more than the request that brought it
  const int64_t block_tokens = trace.block_tokens;
  ServeAllThatCame(trace, [&](const TraceRequest& request, size_t hits, BlockNumber last_hit) {
    const int64_t input = request.input_tokens;
    int64_t hit_tokens = static_cast<int64_t>(hits) * block_tokens;
    const auto before = turns.find(last_hit);
    if (before != turns.end() && !shared[last_hit] && before->second.session == request.session &&
        before->second.tokens <= input) {
      hit_tokens = before->second.tokens;
    }
    tally.AddTokens(request, trace.NumBlocksOf(request), hits, hit_tokens);
    for (BlockNumber block = last_hit; block != kNoBlockNumber && !shared[block];
         block = trace.parents[block]) {
      shared[block] = true;
    }
    const int64_t full_blocks = input / block_tokens;
    BlockNumber last_full = request.last;
    for (auto n = static_cast<int64_t>(trace.NumBlocksOf(request)); n > full_blocks; --n) {
      last_full = trace.parents[last_full];
    }
    if (last_full != kNoBlockNumber) {
      turns[last_full] = {request.session, input + request.output_tokens};
    }
  });
  return tally;
}

Tally Optimum(const Trace& trace, const UseRuns& next_uses, int64_t capacity) {
  Tally tally;
  KeepNextUses(trace, next_uses, capacity, 0, [&](size_t i, int64_t hits) {
    const TraceRequest& request = trace.requests[i];
    tally.Add(request, trace.NumBlocksOf(request), static_cast<size_t>(hits), trace.block_tokens);
  });
  return tally;
}

double CostBound(const Trace& trace, const UseRuns& next_uses, int64_t capacity) {
  double cost = 0;
  int64_t max_blocks = 0;
  for (const TraceRequest& request : trace.requests) {
    if (!request.is_lookup()) continue;
    cost += PrefillCost(request.input_tokens);
    max_blocks = std::max(max_blocks, static_cast<int64_t>(trace.NumBlocksOf(request)));
  }
  if (cost == 0) return 0;
  const int64_t step = (max_blocks + kCostLevels - 1) / kCostLevels;
  double bound = 0;
  double worth = 0;  // of a hit above the depth of this level
  for (int64_t depth = 0; depth < max_blocks; depth += step) {
    int64_t all_hits = 0;
    KeepNextUses(trace, next_uses, capacity, static_cast<uint32_t>(depth),
                 [&all_hits](size_t, int64_t hits) { all_hits += hits; });
    const double here = BlockCost(depth + step - 1, trace.block_tokens);
    bound += (here - worth) * static_cast<double>(all_hits);
    worth = here;
  }
  // Nor does anybody save more than what came before.
  return std::min(bound / cost, InfiniteCache(trace).cost_ratio());
}

}  // namespace reprise::bench
