// StoreCache: one tier of the store, by its own PrefixIndex and one of its eviction policies,
// without bytes. Only leaves go, because a child may not outlive its parent in the last tier.
// Thread-compatible.
#pragma once

#include <cstdint>
#include <memory>

#include "bench/hitrate/block_cache.h"
#include "bench/hitrate/chain_match.h"
#include "bench/hitrate/policy_feed.h"
#include "cachestore/index/prefix_index.h"
#include "cachestore/policy/eviction_policy.h"

namespace reprise::bench {

// When the room for a request's new blocks is made.
enum class MakeRoom {
  kAfter,   // all come in; then leaves go until the rest fits, the request's own tail among them
  kBefore,  // a slot for each before it comes, as the store does it; the request's own blocks are
            // pinned, and a block that finds no slot does not come, nor do those behind it
};

class StoreCache : public BlockCache {
 public:
  // `capacity` blocks, at least one. Serves the requests of `trace`, which outlives it.
  StoreCache(const PolicyMaker& policy, const cachestore::Trace& trace, int64_t capacity,
             MakeRoom make_room, const FeedOptions& options = {});

  int64_t queue_ms() const override { return feed_.options().queue_ms; }
  void Announce(const cachestore::TraceRequest& request,
                absl::Span<const cachestore::BlockNumber> chain) override;
  cachestore::PlaceInOrder Places() override;

  size_t Serve(const cachestore::TraceRequest& request,
               absl::Span<const cachestore::BlockNumber> chain) override;

  int64_t size() const { return size_; }

 private:
  // Adds the blocks of `chain` from `first` on, as far as there is room; returns the end of what is
  // there now. chain_ holds the ids of those before, and then of all.
  size_t InsertFrom(size_t first, absl::Span<const cachestore::BlockNumber> chain);
  // Whether a block could be dropped: the one that goes first.
  bool Evict();
  // Puts `id` among those that may go, those that wait for their children, or neither.
  void PlaceAnew(cachestore::BlockId id);

  const int64_t capacity_;
  const MakeRoom make_room_;
  PolicyFeed feed_;
  cachestore::EvictionPolicy* const policy_;  // the feed's
  cachestore::PrefixIndex index_{/*listener=*/nullptr, &feed_};
  cachestore::BlockId root_;
  int64_t size_ = 0;
  ChainMatch chain_;  // of the request under way
};

}  // namespace reprise::bench
