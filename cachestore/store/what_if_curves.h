// WhatIfCurves: miss ratio curves of a store, by tenant, from the requests that it sees. Tenants
// without a quota are one cache, each with one is a cache of its own. A store that is small takes
// few samples, so that all of it stays below a hundredth of RAM's budget. Thread-compatible.
//
// They are those of LRU, whatever policy the store has; blocks on the GPU count as the part of RAM
// used last, and RAM and disk as one cache with room for both.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "cachestore/block/block_key.h"
#include "cachestore/policy/miss_ratio_curve.h"
#include "cachestore/store/what_if.h"

namespace reprise::cachestore {

// The blocks that are looked up, or stored, in a namespace.
struct WatchedRun {
  absl::Span<const BlockKey> keys;  // root first
  int64_t block_tokens = 0;
  uint64_t slot_bytes = 0;  // that a block takes of RAM
  int64_t disk_bytes = 0;   // and of the disk; 0: there is none
  uint32_t namespace_id = 0;
  uint32_t share = 0;
  absl::string_view tenant;
};

// What there is of a share: its quotas, or the tiers.
struct ShareSizes {
  int64_t gpu_bytes = 0;
  int64_t ram_bytes = 0;
  int64_t disk_bytes = 0;
};

class WhatIfCurves {
 public:
  explicit WhatIfCurves(int64_t ram_bytes);

  void OnLookup(const WatchedRun& run, absl::Time now);
  void OnStore(const WatchedRun& run);

  // `sizes`: of each share, by number.
  WhatIfReport Report(absl::Span<const ShareSizes> sizes) const;

  size_t memory_bytes() const;

 private:
  struct Tenant {
    std::string name;
    uint32_t share = 0;  // of its last lookup
  };

  MissRatioCurve& CurveOf(uint32_t share);
  // The tenant's number; that of all others once there are too many.
  uint32_t TenantOf(const WatchedRun& run);
  BlockRun RunOf(const WatchedRun& run);
  void Age(absl::Time now);

  const size_t common_samples_;
  const size_t share_samples_;
  const size_t max_tenants_;
  std::vector<std::unique_ptr<MissRatioCurve>> curves_;  // by share; null: nothing was looked up
  std::vector<Tenant> tenants_;
  absl::flat_hash_map<std::string, uint32_t> numbers_;  // of tenants
  std::vector<uint32_t> tenant_of_;                     // by namespace id; kUnknown
  double ram_per_disk_byte_ = 1;                        // that the last block looked up takes
  absl::Time aged_ = absl::InfinitePast();
};

}  // namespace reprise::cachestore
