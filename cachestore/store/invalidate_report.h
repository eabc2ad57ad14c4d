// InvalidateReport: what TieredStore::Invalidate took away. Plain data.
#pragma once

#include <cstdint>

namespace reprise::cachestore {

// How many visible blocks an invalidation took away; a block in several tiers counts in each.
struct InvalidateReport {
  int64_t gpu_blocks = 0;
  int64_t ram_blocks = 0;
  int64_t disk_blocks = 0;
  int64_t pinned_blocks = 0;  // of those in memory, still readable for whoever pins them
};

}  // namespace reprise::cachestore
