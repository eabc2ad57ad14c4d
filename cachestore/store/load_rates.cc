#include "cachestore/store/load_rates.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "cachestore/base/check.h"
#include "cachestore/base/weighted_quantile.h"

namespace reprise::cachestore {
namespace {

// A burst is cut when it is that old, and loaded this many times what is under way, so that loads
// which began in one stretch and end in the next matter little.
constexpr absl::Duration kStretch = absl::Milliseconds(50);
constexpr int64_t kRounds = 4;

// Stretches kept of each kind, and what each one weighs against the next younger one: after seven
// stretches at another speed, the median is theirs.
constexpr size_t kKept = 32;
constexpr double kFading = 0.9;

}  // namespace

void LoadRates::Begin(uint64_t bytes, absl::Time now) {
  bytes_under_way_ += bytes;
  if (under_way_++ > 0) return;
  begin_ = last_end_ = now;
  from_idle_ = true;
  loads_ = 0;
  bytes_ = 0;
}

void LoadRates::End(uint64_t bytes, bool good, absl::Time now) {
  CHECK(under_way_ > 0 && bytes_under_way_ >= bytes);
  last_end_ = std::max(last_end_, now);
  --under_way_;
  bytes_under_way_ -= bytes;
  ++loads_;
  if (good) bytes_ += bytes;
  const bool idle = under_way_ == 0;
  if (!idle && (last_end_ - begin_ < kStretch || loads_ < kRounds * under_way_)) return;
  // What follows a cut and ends idle is short and its loads began before it.
  if ((from_idle_ || !idle) && bytes_ > 0) {
    std::deque<Stretch>& stretches = idle && loads_ == 1 ? lone_ : bursts_;
    stretches.push_back({.end = last_end_,
                         .seconds = absl::ToDoubleSeconds(last_end_ - begin_),
                         .bytes = static_cast<double>(bytes_)});
    if (stretches.size() > kKept) stretches.pop_front();
  }
  begin_ = last_end_;
  from_idle_ = false;
  loads_ = 0;
  bytes_ = 0;
}

std::optional<LoadRates::Speed> LoadRates::SpeedOf(double quantile, absl::Time oldest) const {
  std::vector<WeightedValue> paces;
  // Without bursts, loads are taken to follow one another.
  for (const std::deque<Stretch>* stretches : {&bursts_, &lone_}) {
    double fading = 1;
    for (auto it = stretches->rbegin(); it != stretches->rend() && it->end >= oldest; ++it) {
      paces.push_back({it->seconds / it->bytes, it->bytes * fading});
      fading *= kFading;
    }
    if (!paces.empty()) break;
  }
  if (paces.empty()) return std::nullopt;
  const double pace = WeightedQuantile(paces, 0.5);
  std::vector<WeightedValue> latencies;
  double fading = 1;
  for (auto it = lone_.rbegin(); it != lone_.rend() && it->end >= oldest; ++it) {
    latencies.push_back({std::max(0.0, it->seconds - it->bytes * pace), fading});
    fading *= kFading;
  }
  return Speed{.seconds_per_byte = WeightedQuantile(paces, quantile),
               .latency_seconds = latencies.empty() ? 0 : WeightedQuantile(latencies, quantile)};
}

void LoadRates::Predict(uint64_t block_bytes, uint64_t bytes_ahead, absl::Time now,
                        LoadTimes& times) const {
  const auto time_of = [&](const Speed& speed) {
    const auto ahead = static_cast<double>(bytes_under_way_ + bytes_ahead);
    return LoadTime{
        .start = absl::Seconds(speed.latency_seconds + ahead * speed.seconds_per_byte),
        .per_block = absl::Seconds(static_cast<double>(block_bytes) * speed.seconds_per_byte),
        .least = under_way_ > 0 ? std::max(now - last_end_, absl::ZeroDuration())
                                : absl::ZeroDuration()};
  };
  const std::optional<Speed> median = SpeedOf(0.5, now - kMemory);
  times.measured = median.has_value();
  times.median = time_of(median.value_or(Speed{}));
  times.p90 = time_of(SpeedOf(0.9, now - kMemory).value_or(Speed{}));
}

int64_t LoadRates::bytes_per_second() const {
  const std::optional<Speed> speed = SpeedOf(0.5, absl::InfinitePast());
  if (!speed.has_value() || speed->seconds_per_byte == 0) return 0;
  return std::llround(1 / speed->seconds_per_byte);
}

int64_t LoadRates::latency_us() const {
  const std::optional<Speed> speed = SpeedOf(0.5, absl::InfinitePast());
  return speed.has_value() ? std::llround(speed->latency_seconds * 1e6) : 0;
}

}  // namespace reprise::cachestore
