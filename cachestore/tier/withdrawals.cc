#include "cachestore/tier/withdrawals.h"

#include <utility>

#include "cachestore/base/status_macros.h"

namespace reprise::cachestore {

Withdrawals::Withdrawals(BlockCatalog& catalog, SlotFiles& slots,
                         std::function<void(const Withdrawal&)> on_gone)
    : catalog_(catalog), slots_(slots), on_gone_(std::move(on_gone)) {}

absl::Status Withdrawals::Withdraw(std::vector<Withdrawal> more) {
  absl::MutexLock lock(&mu_);
  left_.insert(left_.end(), more.begin(), more.end());
  if (left_.empty()) return absl::OkStatus();
  std::vector<BlockKey> keys;
  std::vector<SlotAddress> slots;
  for (const Withdrawal& withdrawal : left_) {
    keys.push_back(withdrawal.key);
    if (withdrawal.slot.has_value()) slots.push_back(*withdrawal.slot);
  }
  RETURN_IF_ERROR(catalog_.Erase(keys));
  slots_.Release(slots);
  for (const Withdrawal& withdrawal : left_) on_gone_(withdrawal);
  left_.clear();
  return absl::OkStatus();
}

}  // namespace reprise::cachestore
