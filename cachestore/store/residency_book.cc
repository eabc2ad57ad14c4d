#include "cachestore/store/residency_book.h"

namespace reprise::cachestore {

void ResidencyBook::JoinShare(uint32_t namespace_id, uint32_t share) {
  DiskCopies& disk = disk_[namespace_id];
  if (share >= bytes_of_shares_.size()) bytes_of_shares_.resize(size_t{share} + 1);
  bytes_of_shares_[disk.share].on_disk -= disk.copies * disk.copy_bytes;
  bytes_of_shares_[share].on_disk += disk.copies * disk.copy_bytes;
  bytes_of_shares_[disk.share].twice_held -= disk.twice_held * disk.slot_bytes;
  bytes_of_shares_[share].twice_held += disk.twice_held * disk.slot_bytes;
  disk.share = share;
}

void ResidencyBook::OnChange(const ResidencyChange& change) {
  DiskCopies& disk = disk_[change.namespace_id];
  disk.copies += change.disk_copies;
  const auto is_twice_held = [](const TierSet& tiers) {
    return tiers.Has(CacheTier::kRam) && tiers.Has(CacheTier::kDisk);
  };
  const int twice_held = is_twice_held(change.after) - is_twice_held(change.before);
  disk.twice_held += twice_held;
  ShareBytes& bytes = bytes_of_shares_[disk.share];
  bytes.on_disk += change.disk_copies * disk.copy_bytes;
  bytes.twice_held += twice_held * disk.slot_bytes;
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
