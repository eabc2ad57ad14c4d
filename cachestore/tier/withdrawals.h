// Withdrawals: keys that must leave the index, and the slots that are free once they certainly
// have. A failed write may have reached RocksDB's log or not; so the slots stay reserved and the
// keys are erased again, until that succeeds. Thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "cachestore/block/block_key.h"
#include "cachestore/tier/block_catalog.h"
#include "cachestore/tier/block_record.h"
#include "cachestore/tier/slot_files.h"

namespace reprise::cachestore {

struct Withdrawal {
  BlockKey key;
  std::optional<SlotAddress> slot;  // none: the record could not be read; its slot stays reserved
  int64_t slot_bytes = 0;
  bool counted = false;  // as a stored block
};

class Withdrawals {
 public:
  // Both outlive this. `on_gone` is called for every withdrawal that has succeeded.
  Withdrawals(BlockCatalog& catalog, SlotFiles& slots,
              std::function<void(const Withdrawal&)> on_gone);

  // Takes `more`, and what is left from earlier failures, out of the index, durably, and frees
  // their slots. After a failure all of it is left. BLOCKS.
  absl::Status Withdraw(std::vector<Withdrawal> more) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  BlockCatalog& catalog_;
  SlotFiles& slots_;
  const std::function<void(const Withdrawal&)> on_gone_;
  absl::Mutex mu_;
  std::vector<Withdrawal> left_ ABSL_GUARDED_BY(mu_);
};

}  // namespace reprise::cachestore
