#include "bench/hitrate/what_if_replay.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <memory>

#include "absl/functional/function_ref.h"
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

int64_t BlocksOf(const Trace& trace, double percent) {
  return std::max<int64_t>(1,
                           std::llround(percent / 100 * static_cast<double>(trace.num_blocks())));
}

TierCache WithDisk(const ReplayPolicy& policy, const Trace& trace, double factor) {
  return TierCache(
      policy.make_eviction, trace, std::make_unique<cachestore::AdmitAll>(),
      {.ram = BlocksOf(trace, factor * kWhatIfRam), .disk = BlocksOf(trace, factor * kWhatIfDisk)});
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

namespace {

// The points of `line` for a cache of `blocks` blocks at factor 1, as `curve` has them and as
// `replay` measures.
void Compare(const SampledCurve& curve, double blocks,
             absl::FunctionRef<Tally(double factor)> replay, WhatIfSweep::Line& line) {
  line.sampling_rate = curve.sampling_rate();
  for (const double factor : kFactors) {
    const double hits = curve.HitTokens(0, factor * blocks * double{kBlockBytes});
    line.points.push_back({.factor = factor,
                           .predicted = hits / curve.LookedUpTokens(0),
                           .measured = replay(factor).block_ratio()});
  }
}

// The reach of a curve for so many blocks at factor 1.
double ReachOf(double blocks) {
  return kFactors[std::size(kFactors) - 1] * blocks * double{kBlockBytes};
}

WhatIfSweep::Line RamAlone(const Trace& trace, const ReplayPolicy& policy) {
  WhatIfSweep::Line line = {.policy = policy.name, .tier = "ram"};
  const auto cache_of = [&](double factor) {
    return policy.make(trace, BlocksOf(trace, factor * kWhatIfRam), MakeRoom::kAfter);
  };
  const auto blocks = static_cast<double>(BlocksOf(trace, kWhatIfRam));
  const auto cache = cache_of(1);
  SampledCurve curve(kMaxSamples, cache->Places());
  curve.Reach(ReachOf(blocks));
  Watch(trace, *cache, curve);
  Compare(
      curve, blocks, [&](double factor) { return Replay(trace, *cache_of(factor)); }, line);
  return line;
}

WhatIfSweep::Line RamAndDisk(const Trace& trace, const ReplayPolicy& policy) {
  WhatIfSweep::Line line = {.policy = policy.name, .tier = "disk"};
  TierCache cache = WithDisk(policy, trace, 1);
  SampledCurve curve(kMaxSamples, cache.Places());
  curve.Reach(ReachOf(static_cast<double>(BlocksOf(trace, kWhatIfRam + kWhatIfDisk))));
  Watch(trace, cache, curve);
  // What both have counts once, as in the store (ShareSizes::only_in_ram).
  Compare(
      curve, static_cast<double>(cache.num_blocks()),
      [&](double factor) {
        TierCache other = WithDisk(policy, trace, factor);
        return Replay(trace, other);
      },
      line);
  return line;
}

}  // namespace

WhatIfSweep RunWhatIf(const Trace& trace, const SweepStep& step) {
  WhatIfSweep sweep = {.trace = trace.name};
  for (const ReplayPolicy& policy : ReplayPolicies()) {
    if (policy.name != "lru" && policy.name != kDefaultPolicy) continue;
    step(absl::StrCat(trace.name, ", ", policy.name, ", what-if curve of RAM"));
    sweep.lines.push_back(RamAlone(trace, policy));
    step(absl::StrCat(trace.name, ", ", policy.name, ", what-if curve of RAM and disk"));
    sweep.lines.push_back(RamAndDisk(trace, policy));
  }
  return sweep;
}

}  // namespace reprise::bench
