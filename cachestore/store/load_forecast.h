// LoadForecast: what Pin would have to load into RAM, and how long that would take. Plain data, as
// of the moment of asking.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/time/time.h"

namespace reprise::cachestore {

// Time from now until blocks are resident, in the order of their loads.
struct LoadTime {
  absl::Duration start;      // for the loads ahead, and until the first byte
  absl::Duration per_block;  // then for each block
  absl::Duration least;      // so long nothing has come, although loads are under way

  absl::Duration For(int64_t blocks) const {
    if (blocks == 0) return absl::ZeroDuration();
    return std::max(least, start + per_block * blocks);
  }
};

struct LoadForecast {
  std::vector<bool> needs_load;  // one per matched block, root first: it is not in RAM
  bool measured = false;         // false: no load has ended lately, so only `least` is known
  LoadTime median;
  LoadTime p90;  // one of ten loads takes longer
};

}  // namespace reprise::cachestore
