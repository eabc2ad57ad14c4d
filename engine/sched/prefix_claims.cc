#include "engine/sched/prefix_claims.h"

namespace reprise::engine {

using cachestore::BlockKey;

void PrefixClaims::Claim(const Sequence& sequence, absl::Span<const BlockKey> keys) {
  for (const BlockKey& key : keys) claimants_.try_emplace(key, &sequence);
}

void PrefixClaims::Release(const Sequence& sequence, absl::Span<const BlockKey> keys) {
  for (const BlockKey& key : keys) {
    const auto it = claimants_.find(key);
    if (it != claimants_.end() && it->second == &sequence) claimants_.erase(it);
  }
}

const Sequence* PrefixClaims::ClaimantOf(const BlockKey& key) const {
  const auto it = claimants_.find(key);
  return it == claimants_.end() ? nullptr : it->second;
}

int64_t PrefixClaims::CountClaimed(absl::Span<const BlockKey> keys) const {
  const Sequence* const claimant = keys.empty() ? nullptr : ClaimantOf(keys.front());
  int64_t claimed = 0;
  for (const BlockKey& key : keys) {
    if (claimant == nullptr || ClaimantOf(key) != claimant) break;
    ++claimed;
  }
  return claimed;
}

}  // namespace reprise::engine
