// LatencyHistogram: how long blocks took, in fixed buckets whose bounds double. Plain data;
// thread-compatible.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <numeric>

#include "absl/time/time.h"

namespace reprise::cachestore {

struct LatencyHistogram {
  // The buckets end at 16 us, 32 us, ... 8.4 s; the last one has no end.
  static constexpr size_t kNumBounds = 20;
  static constexpr double BoundSeconds(size_t bucket) {
    return 16e-6 * static_cast<double>(uint64_t{1} << bucket);
  }

  std::array<int64_t, kNumBounds + 1> counts = {};  // of each bucket alone
  int64_t sum_nanoseconds = 0;

  // So many blocks took so long.
  void Add(absl::Duration time, int64_t num_blocks = 1) {
    size_t bucket = 0;
    while (bucket < kNumBounds && time > absl::Seconds(BoundSeconds(bucket))) ++bucket;
    counts[bucket] += num_blocks;
    sum_nanoseconds += absl::ToInt64Nanoseconds(time) * num_blocks;
  }
  int64_t count() const { return std::accumulate(counts.begin(), counts.end(), int64_t{0}); }
  double sum_seconds() const { return static_cast<double>(sum_nanoseconds) * 1e-9; }
  friend bool operator==(const LatencyHistogram&, const LatencyHistogram&) = default;
};

}  // namespace reprise::cachestore
