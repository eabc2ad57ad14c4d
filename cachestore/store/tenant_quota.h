// What one tenant may take of each tier. Plain data.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace reprise::cachestore {

// As slots and disk copies take it of the budgets (NamespaceUsage). 0: no limit.
struct TenantQuota {
  int64_t ram_bytes = 0;
  int64_t disk_bytes = 0;

  friend bool operator==(const TenantQuota&, const TenantQuota&) = default;
};
using QuotasByTenant = std::map<std::string, TenantQuota>;

// What a slot is taken for.
enum class Purpose {
  kCache,    // refused where the tenant's quota leaves no room
  kCompute,  // a sequence cannot go on without it: counted, and never refused for a quota
};

}  // namespace reprise::cachestore
