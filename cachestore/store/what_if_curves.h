// WhatIfCurves: miss ratio curves of a store, by tenant, from the requests that it sees. Tenants
// without a quota are one cache, each with one is a cache of its own. A store that is small takes
// few samples, so that all of it stays below a hundredth of RAM's budget. Thread-compatible.
//
// They are those of the store's order of eviction. Blocks on the GPU count as the part of RAM that
// goes last, and RAM and disk as one cache with room for what both have, as much of it twice as
// now.
#pragma once

#include <cstdint>
#include <deque>
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
  double only_in_ram = 1;  // of what is in RAM, the part that is not on disk as well
};

class WhatIfCurves {
 public:
  // `place_of`: in the order of eviction; null: that is LRU. Called from OnLookup and OnStore.
  WhatIfCurves(int64_t ram_bytes, PlaceInOrder place_of);

  // `sizes`: of its share. Now and then one of the curves, the one that has waited the longest,
  // takes in as well what the order has become: some milliseconds at most, and all of them together
  // a two-hundredth of the time.
  void OnLookup(const WatchedRun& run, const ShareSizes& sizes, absl::Time now);
  void OnStore(const WatchedRun& run);

  // Tenants that have looked anything up, by number, and what each has. Some ten microseconds a
  // tenant: with many of them, let others have the lock in between.
  uint32_t num_tenants() const { return static_cast<uint32_t>(tenants_.size()); }
  uint32_t ShareOf(uint32_t tenant) const { return tenants_[tenant].share; }
  // Of nobody: the sizes, with no lookups.
  static TenantWhatIf Nothing(const ShareSizes& sizes);
  TenantWhatIf OfTenant(uint32_t tenant, const ShareSizes& sizes) const;
  // Of the tenants without a quota.
  double sampling_rate() const;

  size_t memory_bytes() const;

 private:
  struct Tenant {
    std::string name;
    uint32_t share = 0;  // of its last lookup
  };
  // Of one share.
  struct Curve {
    std::unique_ptr<MissRatioCurve> curve;  // null: nothing was looked up
    absl::Time ordered = absl::InfinitePast();
    bool is_unordered = false;  // in unordered_
  };

  Curve& CurveOf(uint32_t share);
  // Has the next curve of unordered_ take in what the order has become, if it is time.
  void OrderOne(absl::Time now);
  // Bytes of a cache of `factor` times the share's RAM, and of its disk as well.
  double Ram(double factor, const ShareSizes& sizes) const;
  double RamAndDisk(double factor, const ShareSizes& sizes) const;
  // The tenant's number; that of all others once there are too many.
  uint32_t TenantOf(const WatchedRun& run);
  BlockRun RunOf(const WatchedRun& run);
  void Age(absl::Time now);

  const size_t common_samples_;
  const size_t share_samples_;
  const size_t max_tenants_;
  const PlaceInOrder place_of_;
  std::vector<Curve> curves_;  // by share
  // Shares whose curves were asked since they were ordered, the one that has waited longest first.
  std::deque<uint32_t> unordered_;
  absl::Time order_after_ = absl::InfinitePast();
  std::vector<Tenant> tenants_;
  absl::flat_hash_map<std::string, uint32_t> numbers_;  // of tenants
  std::vector<uint32_t> tenant_of_;                     // by namespace id; kUnknown
  double ram_per_disk_byte_ = 1;                        // that the last block looked up takes
  absl::Time aged_ = absl::InfinitePast();
};

}  // namespace reprise::cachestore
