// LoadRates: how fast a tier loads, learned from the loads that have ended.
//
//     loads under way  __/####\___/#\___/########|########|##\___
//                        burst    lone  burst     burst    (not counted)
//
// The time with loads under way is cut into stretches. One with several loads is a burst and tells
// the rate, in bytes per second with everything in between; a lone load tells the latency: what it
// takes beyond its bytes at that rate. The last stretches are kept, and answers are medians of
// them, large and young ones weighing more; so one hiccup, or many small loads, change little.
// What is older than kMemory is not asked: a tier that was slow once is tried again.
//
// Thread-compatible: StoreCore::mu guards every call.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "absl/time/time.h"
#include "cachestore/store/load_forecast.h"

namespace reprise::cachestore {

class LoadRates {
 public:
  static constexpr absl::Duration kMemory = absl::Minutes(1);

  // A load of `bytes` bytes begins, or has ended; one that failed has cost time and gave nothing.
  // REQUIRES: each load that has ended began before.
  void Begin(uint64_t bytes, absl::Time now);
  void End(uint64_t bytes, bool good, absl::Time now);

  // Fills in how long blocks of `block_bytes` take that are loaded after the loads under way and
  // `bytes_ahead` more.
  void Predict(uint64_t block_bytes, uint64_t bytes_ahead, absl::Time now, LoadTimes& times) const;

  // Medians of what is kept, whatever its age; 0 before any load has ended.
  int64_t bytes_per_second() const;
  int64_t latency_us() const;

 private:
  struct Stretch {
    absl::Time end;
    double seconds = 0;
    double bytes = 0;
  };
  struct Speed {
    double seconds_per_byte = 0;
    double latency_seconds = 0;
  };

  // The speed that is better in `quantile` of the stretches that ended at `oldest` or later.
  std::optional<Speed> SpeedOf(double quantile, absl::Time oldest) const;

  std::deque<Stretch> bursts_;  // oldest first
  std::deque<Stretch> lone_;
  int64_t under_way_ = 0;
  uint64_t bytes_under_way_ = 0;
  absl::Time last_end_;  // of a load, or when the first of those under way began

  // The stretch under way.
  absl::Time begin_;
  bool from_idle_ = false;  // nothing was under way before it
  int64_t loads_ = 0;       // ended in it
  uint64_t bytes_ = 0;      // loaded in it
};

}  // namespace reprise::cachestore
