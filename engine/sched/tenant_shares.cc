#include "engine/sched/tenant_shares.h"

#include <algorithm>

#include "cachestore/base/check.h"

namespace reprise::engine {

void TenantShares::Join(const std::string& tenant) {
  Share& share = Remember(tenant);
  share.served = std::max(share.served, clock_);
  ++share.waiting_lines;
}

void TenantShares::Leave(const std::string& tenant) {
  const auto it = shares_.find(tenant);
  CHECK(it != shares_.end() && it->second.waiting_lines > 0);
  --it->second.waiting_lines;
}

int64_t TenantShares::ServedTo(const std::string& tenant) const {
  const auto it = shares_.find(tenant);
  return it == shares_.end() ? clock_ : it->second.served;
}

void TenantShares::Serve(const std::string& tenant) { clock_ = std::max(clock_, ServedTo(tenant)); }

void TenantShares::Charge(const std::string& tenant, int64_t tokens) {
  Remember(tenant).served += tokens;
}

TenantShares::Share& TenantShares::Remember(const std::string& tenant) {
  if (shares_.size() >= forget_at_ && !shares_.contains(tenant)) ForgetIdle();
  return shares_.try_emplace(tenant, Share{.served = clock_}).first->second;
}

void TenantShares::ForgetIdle() {
  const auto is_idle = [](const auto& entry) { return entry.second.waiting_lines == 0; };
  // Forgetting who is not ahead of the clock changes nothing.
  absl::erase_if(
      shares_, [&](const auto& entry) { return is_idle(entry) && entry.second.served <= clock_; });
  if (shares_.size() > kMaxTenants / 2) absl::erase_if(shares_, is_idle);
  // Not again before there are many more: it looks at every entry.
  forget_at_ = std::max(kMaxTenants, 2 * shares_.size());
}

}  // namespace reprise::engine
