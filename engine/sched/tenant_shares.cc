#include "engine/sched/tenant_shares.h"

#include <algorithm>

namespace reprise::engine {

void TenantShares::Join(const std::string& tenant) {
  if (served_.size() >= kMaxTenants) served_.clear();
  int64_t& served = served_.try_emplace(tenant, clock_).first->second;
  served = std::max(served, clock_);
}

int64_t TenantShares::ServedTo(const std::string& tenant) const {
  const auto it = served_.find(tenant);
  return it == served_.end() ? clock_ : it->second;
}

void TenantShares::Serve(const std::string& tenant) { clock_ = std::max(clock_, ServedTo(tenant)); }

void TenantShares::Charge(const std::string& tenant, int64_t tokens) {
  const auto it = served_.find(tenant);
  if (it != served_.end()) it->second += tokens;
}

}  // namespace reprise::engine
