#include "api/view/usage_report.h"

#include <array>
#include <map>
#include <string>

#include "api/view/namespace_names.h"

namespace reprise::api {
namespace {

using Tiers = std::array<cachestore::TierUsage, cachestore::kNumCacheTiers>;
using Messages = google::protobuf::RepeatedPtrField<v1::TierUsage>;

void Add(cachestore::CacheTier tier, int64_t blocks, int64_t bytes, Messages* messages) {
  v1::TierUsage& message = *messages->Add();
  message.set_tier(TierName(tier));
  message.set_blocks(blocks);
  message.set_bytes(bytes);
}

// Tiers without a block are left out.
void SetTiers(const Tiers& tiers, Messages* messages) {
  for (const cachestore::CacheTier tier : cachestore::kCacheTiers) {
    const cachestore::TierUsage& usage = tiers[static_cast<size_t>(tier)];
    if (usage.blocks > 0) Add(tier, usage.blocks, usage.bytes, messages);
  }
}

void Sum(const Tiers& more, Tiers* sum) {
  for (size_t i = 0; i < more.size(); ++i) {
    (*sum)[i].blocks += more[i].blocks;
    (*sum)[i].bytes += more[i].bytes;
  }
}

}  // namespace

v1::UsageResponse UsageOf(const cachestore::TieredStore& store, const LeaseStats::Values& sessions,
                          const Principal& principal, bool all) {
  using cachestore::CacheTier;
  v1::UsageResponse response;
  std::map<std::string, v1::TenantUsage> tenants;
  std::map<std::string, Tiers> sums;
  Tiers used = {};
  for (const cachestore::NamespaceUsage& usage : store.Usage()) {
    Sum(usage.tiers, &used);
    if (!all && !MaySee(principal, usage.name.tenant)) continue;
    Sum(usage.tiers, &sums[usage.name.tenant]);
    v1::NamespaceUsage& message = *tenants[usage.name.tenant].add_namespaces();
    *message.mutable_name() = Describe(usage.name).name;
    SetTiers(usage.tiers, message.mutable_tiers());
  }
  for (const auto& [tenant, quota] : store.Quotas()) {
    if (!all && !MaySee(principal, tenant)) continue;
    Messages* const quotas = tenants[tenant].mutable_quotas();
    if (quota.ram_bytes > 0) Add(CacheTier::kRam, 0, quota.ram_bytes, quotas);
    if (quota.disk_bytes > 0) Add(CacheTier::kDisk, 0, quota.disk_bytes, quotas);
  }
  for (auto& [tenant, message] : tenants) {
    message.set_tenant(tenant);
    SetTiers(sums[tenant], message.mutable_tiers());
    *response.add_tenants() = std::move(message);
  }
  const cachestore::StoreStats stats = store.stats();
  const std::array<int64_t, cachestore::kNumCacheTiers> budgets = {
      stats.gpu_capacity_bytes, stats.ram_capacity_bytes, stats.disk_capacity_bytes};
  for (const CacheTier tier : cachestore::kCacheTiers) {
    const int64_t budget = budgets[static_cast<size_t>(tier)];
    if (budget > 0) Add(tier, 0, budget, response.mutable_budgets());
  }
  if (!all) return response;
  SetTiers(used, response.mutable_used());
  response.set_sessions(sessions.sessions);
  response.set_leases(sessions.leases);
  response.set_leased_bytes(sessions.held_bytes);
  return response;
}

}  // namespace reprise::api
