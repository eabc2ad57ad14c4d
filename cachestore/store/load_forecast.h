// LoadForecast: what Pin would have to load into RAM and to copy to the GPU, and how long that
// would take. Plain data, as of the moment of asking.
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

struct LoadTimes {
  bool measured = false;  // false: no load has ended lately, so only `least` is known
  LoadTime median;
  LoadTime p90;  // one of ten loads takes longer
};

// The times are those of loads from disk.
struct LoadForecast : LoadTimes {
  std::vector<bool> needs_load;  // one per matched block, root first: only disk has it
  // The same: it is not on the GPU, which the store has; else empty. What that hop takes.
  std::vector<bool> needs_copy;
  LoadTimes copy;
};

}  // namespace reprise::cachestore
