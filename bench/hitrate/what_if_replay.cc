#include "bench/hitrate/what_if_replay.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "absl/strings/str_cat.h"
#include "bench/hitrate/tier_cache.h"
#include "bench/hitrate/trace_keys.h"
#include "cachestore/policy/admission_policy.h"
#include "cachestore/policy/sampled_curve.h"

namespace reprise::bench {
namespace {

using cachestore::BlockKey;
using cachestore::BlockNumber;
using cachestore::SampledCurve;
using cachestore::Trace;
using cachestore::TraceRequest;

constexpr double kFactors[] = {0.5, 1, 2, 4};
// As in the store (what_if_curves.cc), of 64 GiB or more.
constexpr size_t kMaxSamples = 16384;
constexpr int64_t kOrderingMs = 500;
constexpr uint64_t kBlockBytes = 4096;  // any number

std::unique_ptr<BlockCache> CacheOf(const ReplayPolicy& policy, const Trace& trace, bool has_disk,
                                    double factor) {
  const auto blocks = [&](double percent) {
    return std::max<int64_t>(
        1, std::llround(factor * percent / 100 * static_cast<double>(trace.num_blocks())));
  };
  if (!has_disk) return policy.make(trace, blocks(kWhatIfRam), MakeRoom::kAfter);
  return std::make_unique<TierCache>(
      policy.make_eviction, trace, std::make_unique<cachestore::AdmitAll>(),
      TierCapacities{.ram = blocks(kWhatIfRam), .disk = blocks(kWhatIfDisk)});
}

// Replays the trace against `cache`; `curve` sees the lookups.
void Watch(const Trace& trace, BlockCache& cache, SampledCurve& curve) {
  std::vector<BlockNumber> chain;
  std::vector<BlockKey> keys;
  int64_t ordered_ms = 0;
  for (const TraceRequest& request : trace.requests) {
    trace.ChainOf(request, chain);
    keys.clear();
    for (const BlockNumber block : chain) keys.push_back(KeyOf(block));
    if (request.time_ms - ordered_ms >= kOrderingMs) {
      ordered_ms = request.time_ms;
      curve.Order();
    }
    const cachestore::BlockRun run = {.keys = keys, .block_bytes = kBlockBytes, .block_tokens = 1};
    request.is_lookup() ? curve.OnLookup(run) : curve.OnStore(run);
    cache.Serve(request, chain);
  }
}

}  // namespace

double WhatIfSweep::Line::LargestError() const {
  double error = 0;
  for (const Point& point : points) {
    error = std::max(error, std::abs(point.predicted - point.measured));
  }
  return error;
}

WhatIfSweep RunWhatIf(const Trace& trace, const SweepStep& step) {
  WhatIfSweep sweep = {.trace = trace.name};
  for (const ReplayPolicy& policy : ReplayPolicies()) {
    if (policy.name != "lru" && policy.name != kDefaultPolicy) continue;
    for (const bool has_disk : {false, true}) {
      const double percent = kWhatIfRam + (has_disk ? kWhatIfDisk : 0);
      const double bytes =
          percent / 100 * static_cast<double>(trace.num_blocks()) * double{kBlockBytes};
      step(absl::StrCat(trace.name, ", ", policy.name, ", what-if curve"));
      const auto cache = CacheOf(policy, trace, has_disk, 1);
      SampledCurve curve(kMaxSamples, cache->Places());
      curve.Reach(kFactors[std::size(kFactors) - 1] * bytes);
      Watch(trace, *cache, curve);
      WhatIfSweep::Line line = {.policy = policy.name,
                                .tier = has_disk ? "disk" : "ram",
                                .sampling_rate = curve.sampling_rate()};
      for (const double factor : kFactors) {
        const auto other = CacheOf(policy, trace, has_disk, factor);
        line.points.push_back(
            {.factor = factor,
             .predicted = curve.HitTokens(0, factor * bytes) / curve.LookedUpTokens(0),
             .measured = Replay(trace, *other).block_ratio()});
      }
      sweep.lines.push_back(std::move(line));
    }
  }
  return sweep;
}

}  // namespace reprise::bench
