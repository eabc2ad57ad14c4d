#include "api/view/what_if_report.h"

#include "api/view/namespace_names.h"

namespace reprise::api {
namespace {

void Add(const char* tier, const std::vector<cachestore::WhatIfPoint>& points,
         int64_t tokens_per_second, v1::TenantWhatIf* tenant) {
  if (points.empty()) return;
  v1::WhatIfCurve& curve = *tenant->add_curves();
  curve.set_tier(tier);
  for (const cachestore::WhatIfPoint& point : points) {
    v1::WhatIfPoint& message = *curve.add_points();
    message.set_factor(point.factor);
    message.set_bytes(point.bytes);
    message.set_saved_tokens(point.hit_tokens);
    if (tenant->looked_up_tokens() > 0) {
      message.set_hit_ratio(point.hit_tokens / tenant->looked_up_tokens());
    }
    if (tokens_per_second > 0) {
      message.set_saved_seconds(point.hit_tokens / static_cast<double>(tokens_per_second));
    }
  }
}

void Add(const cachestore::TenantWhatIf& of, int64_t tokens_per_second,
         v1::WhatIfResponse* response) {
  v1::TenantWhatIf& tenant = *response->add_tenants();
  tenant.set_tenant(of.tenant);
  tenant.set_looked_up_tokens(of.looked_up_tokens);
  Add("ram", of.ram, tokens_per_second, &tenant);
  Add("disk", of.disk, tokens_per_second, &tenant);
}

}  // namespace

v1::WhatIfResponse WhatIfOf(const cachestore::WhatIfReport& report, const Principal& principal,
                            bool all, int64_t prefill_tokens_per_second) {
  v1::WhatIfResponse response;
  response.set_sampling_rate(report.sampling_rate);
  if (all) Add(report.all, prefill_tokens_per_second, &response);
  for (const cachestore::TenantWhatIf& tenant : report.tenants) {
    // What all tenants look up in shared namespaces tells a tenant of the others.
    const bool is_of_others = tenant.tenant == kSharedTenant && !principal.tenant.empty();
    if (all || (MaySee(principal, tenant.tenant) && !is_of_others)) {
      Add(tenant, prefill_tokens_per_second, &response);
    }
  }
  return response;
}

}  // namespace reprise::api
