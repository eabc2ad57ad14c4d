// ResidencyBook: what is kept of every change of where blocks are found: how many blocks of each
// namespace are in each tier and how many disk copies it takes, what came and went, and the events
// for those who follow the store. The index tells it of each change, so that its counts are those
// of the index at any moment.
//
// Thread-compatible: StoreCore::mu guards every call.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "cachestore/index/residency.h"
#include "cachestore/store/event_log.h"
#include "cachestore/store/share.h"
#include "cachestore/store/store_stats.h"

namespace reprise::cachestore {

// A number for each tier.
class TierCounts {
 public:
  int64_t& operator[](CacheTier tier) { return counts_[static_cast<size_t>(tier)]; }
  int64_t operator[](CacheTier tier) const { return counts_[static_cast<size_t>(tier)]; }
  friend bool operator==(const TierCounts&, const TierCounts&) = default;

 private:
  std::array<int64_t, kNumCacheTiers> counts_ = {};
};

class ResidencyBook : public ResidencyListener {
 public:
  // Namespaces count from 0, as the index's. A disk copy takes `copy_bytes` of the budget, a block
  // in RAM `slot_bytes`.
  void AddNamespace(int64_t copy_bytes, int64_t slot_bytes) {
    blocks_.emplace_back();
    disk_.push_back({.copy_bytes = copy_bytes, .slot_bytes = slot_bytes});
  }
  // From here on its copies count for this share; before, for kCommonShare.
  void JoinShare(uint32_t namespace_id, uint32_t share);
  // From here on changes are events of `log`, which outlives the book.
  void TellEvents(EventLog& log) { log_ = &log; }

  void OnChange(const ResidencyChange& change) override;
  // No block of the namespace is left in any tier.
  void NoteCleared(uint32_t namespace_id);

  // Blocks of the namespace that can be found in each tier.
  const TierCounts& blocks(uint32_t namespace_id) const { return blocks_[namespace_id]; }
  // Its disk copies, those that cannot be found yet, or not any more, included.
  int64_t disk_copies(uint32_t namespace_id) const { return disk_[namespace_id].copies; }
  // Bytes of the disk's budget that those of a share take.
  int64_t disk_bytes_of_share(uint32_t share) const {
    return share < bytes_of_shares_.size() ? bytes_of_shares_[share].on_disk : 0;
  }
  // Bytes of RAM with blocks of a share that can be found on disk as well.
  int64_t twice_held_bytes_of_share(uint32_t share) const {
    return share < bytes_of_shares_.size() ? bytes_of_shares_[share].twice_held : 0;
  }
  size_t num_namespaces() const { return blocks_.size(); }
  // Fills in how many blocks left each tier, by the reason.
  void FillStats(StoreStats& stats) const;

 private:
  struct DiskCopies {
    int64_t copies = 0;
    int64_t copy_bytes = 0;
    int64_t twice_held = 0;  // blocks that can be found in RAM too
    int64_t slot_bytes = 0;
    uint32_t share = kCommonShare;
  };
  struct ShareBytes {
    int64_t on_disk = 0;     // that disk copies take
    int64_t twice_held = 0;  // of RAM, with what can be found on disk as well
  };

  EventLog* log_ = nullptr;
  std::vector<TierCounts> blocks_;  // by namespace id
  std::vector<DiskCopies> disk_;    // the same
  std::vector<ShareBytes> bytes_of_shares_{1};
  std::array<TierCounts, kNumRemovals> removed_ = {};
};

}  // namespace reprise::cachestore
