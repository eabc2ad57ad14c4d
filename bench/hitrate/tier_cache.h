// TierCache: GPU, RAM and disk of the store, by its own PrefixIndex with its vetoes, one of its
// eviction policies and one of its admission policies, without bytes and without waiting: every
// copy is over at once. Thread-compatible.
//
//     new blocks -> GPU --evicted--> RAM --evicted, admitted--> disk
//     a hit      <- GPU <--copied--- RAM <--------copied------- disk
//
// Blocks are written down when they leave a tier, not before, and not when there is a copy below. A
// block goes to disk with all its ancestors that are not there yet. Without a GPU new blocks come
// into RAM; without a disk RAM drops leaves, and what the GPU has too. A request's blocks come in
// first, then the tiers give up what is too much, the request's own tail if the policy says so.
#pragma once

#include <cstdint>
#include <memory>

#include "bench/hitrate/block_cache.h"
#include "bench/hitrate/chain_match.h"
#include "bench/hitrate/policy_feed.h"
#include "cachestore/index/prefix_index.h"
#include "cachestore/policy/admission_policy.h"
#include "cachestore/policy/eviction_policy.h"

namespace reprise::bench {

// In blocks; RAM has at least one.
struct TierCapacities {
  int64_t gpu = 0;  // 0: there is none
  int64_t ram = 1;
  int64_t disk = 0;  // 0: there is none
};

struct TierTally {
  int64_t gpu_hits = 0;  // by the fastest tier that had the block
  int64_t ram_hits = 0;
  int64_t disk_hits = 0;
  int64_t disk_writes = 0;
};

class TierCache : public BlockCache {
 public:
  // Serves the requests of `trace`, which outlives it.
  TierCache(const PolicyMaker& eviction, const cachestore::Trace& trace,
            std::unique_ptr<cachestore::AdmissionPolicy> admission,
            const TierCapacities& capacities);

  size_t Serve(const cachestore::TraceRequest& request,
               absl::Span<const cachestore::BlockNumber> chain) override;
  cachestore::PlaceInOrder Places() override;

  const TierTally& tally() const { return tally_; }
  int64_t gpu_size() const { return gpu_size_; }
  int64_t ram_size() const { return ram_size_; }
  // Different ones, in whatever tier, and the root.
  int64_t num_blocks() const { return index_.num_nodes(); }
  int64_t disk_size() const { return index_.num_on_disk(); }

 private:
  bool has_gpu() const { return capacities_.gpu > 0; }
  bool has_disk() const { return capacities_.disk > 0; }

  // Copies a block that is found up; counts it if it was looked up.
  void Hit(cachestore::BlockId id, bool counts);
  void AttachGpu(cachestore::BlockId id);
  void AttachRam(cachestore::BlockId id);
  void DetachGpu(cachestore::BlockId id);
  void DetachRam(cachestore::BlockId id);

  // Gives up one GPU copy, writing it down to RAM where that is needed and possible.
  void EvictFromGpu();
  // The block that goes first of those that may leave the GPU while RAM is full.
  cachestore::BlockId FirstThatNeedsNoRam() const;
  // Gives up one RAM copy; false when none may go.
  bool EvictFromRam();
  // Whether RAM may give the block up: because a copy stays, by writing it to disk, or by dropping
  // it.
  enum class WayOut { kNone, kCopyStays, kWrite, kDrop };
  WayOut WayOutOfRam(cachestore::BlockId id) const;
  bool Admits(cachestore::BlockId id) const;
  // Writes the block and its ancestors, as far as they are not there, making room for each. False
  // when there is no room.
  bool WriteToDisk(cachestore::BlockId id);
  bool EvictFromDisk();

  // The tiers of `id` changed, or its children's: where it is a candidate.
  void Refresh(cachestore::BlockId id);
  // Removes it if it is in no tier any more; its parent may have become a candidate.
  void RefreshOrRemove(cachestore::BlockId id);

  const TierCapacities capacities_;
  PolicyFeed feed_;
  cachestore::EvictionPolicy* const eviction_;  // the feed's
  const std::unique_ptr<cachestore::AdmissionPolicy> admission_;
  cachestore::PrefixIndex index_{/*listener=*/nullptr, &feed_};
  cachestore::BlockId root_;
  TierTally tally_;
  int64_t gpu_size_ = 0;
  int64_t ram_size_ = 0;
  ChainMatch chain_;  // of the request under way
};

}  // namespace reprise::bench
