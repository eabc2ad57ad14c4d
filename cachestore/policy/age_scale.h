// AgeScale: how long ago a block was used, in intervals that grow by half an octave: half a second,
// then to 0.7 s, 1 s, 1.4 s ... 18 hours, and one for all that is older. Immutable.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>

namespace reprise::cachestore {

class AgeScale {
 public:
  static constexpr int kNumIntervals = 36;

  AgeScale() {
    for (int i = 1; i <= kNumIntervals; ++i) {
      starts_[i] = static_cast<float>(0.5 * std::exp2((i - 1) / 2.0));
    }
  }

  // Seconds at which interval `i` begins; of kNumIntervals, the end of the last one.
  float start(int i) const { return starts_[i]; }
  float length(int i) const { return starts_[i + 1] - starts_[i]; }

 private:
  std::array<float, kNumIntervals + 1> starts_ = {};
};

}  // namespace reprise::cachestore
