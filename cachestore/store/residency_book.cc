#include "cachestore/store/residency_book.h"

namespace reprise::cachestore {

void ResidencyBook::OnChange(const ResidencyChange& change) {
  disk_copies_[change.namespace_id] += change.disk_copies;
  TierCounts& blocks = blocks_[change.namespace_id];
  for (const CacheTier tier : kCacheTiers) {
    const bool is_there = change.after.Has(tier);
    if (is_there == change.before.Has(tier)) continue;
    blocks[tier] += is_there ? 1 : -1;
    if (!is_there) ++removed_[static_cast<size_t>(change.why)][tier];
    if (log_ == nullptr) continue;
    log_->Append({.time = {},
                  .kind = is_there ? EventKind::kStored : EventKind::kRemoved,
                  .tier = tier,
                  .why = change.why,
                  .namespace_id = change.namespace_id,
                  .key = change.key,
                  .parent = change.parent});
  }
}

void ResidencyBook::FillStats(StoreStats& stats) const {
  for (size_t why = 0; why < removed_.size(); ++why) {
    for (const CacheTier tier : kCacheTiers) {
      stats.removed_blocks[why][static_cast<size_t>(tier)] = removed_[why][tier];
    }
  }
}

void ResidencyBook::NoteCleared(uint32_t namespace_id) {
  if (log_ == nullptr) return;
  log_->Append({.time = {},
                .kind = EventKind::kCleared,
                .namespace_id = namespace_id,
                .key = {},
                .parent = {}});
}

}  // namespace reprise::cachestore
