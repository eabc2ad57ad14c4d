// WhatIfReport: what other sizes of RAM and disk would have made of the lookups so far. Plain data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace reprise::cachestore {

struct WhatIfPoint {
  double factor = 1;      // of the size that there is
  int64_t bytes = 0;      // that is so much: of RAM, or of RAM and disk
  double hit_tokens = 0;  // predicted
};

// What a tenant, or all of them, have looked up. What is older counts less: half after an hour.
struct TenantWhatIf {
  std::string tenant;  // empty: all
  double looked_up_tokens = 0;
  std::vector<WhatIfPoint> ram;   // with no disk
  std::vector<WhatIfPoint> disk;  // RAM and disk together; empty where there is no disk
};

struct WhatIfReport {
  TenantWhatIf all;
  std::vector<TenantWhatIf> tenants;  // that have looked anything up
  double sampling_rate = 0;           // of all keys looked up, the share that is watched
};

}  // namespace reprise::cachestore
