// TieredStore::Impl's part for tenants' quotas: see tiered_store.h.
#include <algorithm>
#include <vector>

#include "cachestore/store/tiered_store_impl.h"

namespace reprise::cachestore {
namespace {

// Under one hold of the lock.
constexpr size_t kBlocksAtOnce = 512;
constexpr size_t kTakenAtOnce = 64;
constexpr uint32_t kNamespacesAtOnce = 512;

// Gives each namespace to its tenant's share, if that has one; whether some came to another.
bool JoinShares(StoreCore& core) {
  bool some_join = false;
  uint32_t id = 0;
  for (bool more = true; more;) {
    absl::MutexLock lock(&core.mu);
    StoreState& state = core.state;
    const auto num_namespaces = static_cast<uint32_t>(state.namespaces.size());
    for (const uint32_t end = std::min(num_namespaces, id + kNamespacesAtOnce); id < end; ++id) {
      const auto share = state.share_of_tenant.find(state.namespaces[id].tenant);
      if (share == state.share_of_tenant.end() || state.namespaces[id].share == share->second) {
        continue;
      }
      state.JoinShare(id, share->second);
      some_join = true;
    }
    more = id < num_namespaces;
  }
  return some_join;
}

}  // namespace

void TieredStore::Impl::SetQuotas(const QuotasByTenant& quotas) {
  // A check of the store would see blocks that have not moved to their share yet.
  TimedMutexLock invalidating(&invalidating_);
  uint32_t num_shares = 0;
  {
    absl::MutexLock lock(&core_.mu);
    StoreState& state = core_.state;
    for (Share& share : state.shares) share.quota = {};
    for (const auto& [tenant, quota] : quotas) {
      Share& share = state.shares[state.ShareFor(tenant)];
      share.quota = quota;
      share.low_watermark_bytes =
          static_cast<int64_t>(low_watermark_ * static_cast<double>(quota.ram_bytes));
    }
    num_shares = static_cast<uint32_t>(state.shares.size());
  }
  for (BlockId next = JoinShares(core_) ? 0 : kNoBlock; next != kNoBlock;) {
    absl::MutexLock lock(&core_.mu);
    Candidates candidates(core_.state);
    next = core_.state.index.VisitSome(next, kBlocksAtOnce,
                                       [&](BlockId id) { candidates.Update(id); });
  }
  // What may go goes now, the rest once the demoter has written it.
  for (uint32_t share = kCommonShare + 1; share < num_shares; ++share) {
    for (bool more = true; more;) {
      absl::MutexLock lock(&core_.mu);
      const int64_t before = core_.state.pool.used_slots();
      more = !core_.ram.MakeShareRoom(share, 0, kTakenAtOnce) &&
             core_.state.pool.used_slots() < before;
      core_.state.NeedRelief(share);
      core_.NoteChange();
    }
  }
}

QuotasByTenant TieredStore::Impl::Quotas() const {
  absl::ReaderMutexLock lock(&core_.mu);
  QuotasByTenant quotas;
  for (const Share& share : core_.state.shares) {
    if (!(share.quota == TenantQuota())) quotas[share.tenant] = share.quota;
  }
  return quotas;
}

bool TieredStore::Impl::FitsQuota(const NamespaceHandle& ns) const {
  absl::ReaderMutexLock lock(&core_.mu);
  return core_.state.FitsQuota(ns.id);
}

}  // namespace reprise::cachestore
