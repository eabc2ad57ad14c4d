// Share: the part of the tiers that is one tenant's by its quota, and how the store keeps it. A
// number names a share; kCommonShare is that of all tenants without a quota and has no limit.
// Plain data, part of StoreState.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "cachestore/store/tenant_quota.h"

namespace reprise::cachestore {

inline constexpr uint32_t kCommonShare = 0;

struct Share {
  std::string tenant;
  TenantQuota quota;  // a share whose tenant has lost its quota stays, without limits
  std::vector<uint32_t> namespaces;  // the tenant's; not kept of the common share
  std::vector<uint32_t> lines;       // StoreState::lines of this share
  // As StoreState's of the same names, of this share alone.
  int64_t clean_bytes = 0;
  int64_t clean_tail_bytes = 0;
  int64_t low_watermark_bytes = 0;
  uint64_t wanted_bytes = 0;
  absl::Time wanted_at;       // when that was said last
  bool needs_relief = false;  // it may be beyond its quota, short of room, or wished for
  bool relieving = false;     // from the low watermark on, until there is twice as much
};

// The blocks of one slot size and share: those whose candidates are in the same sets.
struct CandidateLine {
  uint32_t size_class = 0;
  uint32_t share = kCommonShare;
};

}  // namespace reprise::cachestore
