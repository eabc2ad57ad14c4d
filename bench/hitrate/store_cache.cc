#include "bench/hitrate/store_cache.h"

#include <utility>

#include "bench/hitrate/trace_keys.h"
#include "cachestore/base/check.h"

namespace reprise::bench {

using cachestore::BlockId;
using cachestore::BlockNumber;
using cachestore::CandidateSet;
using cachestore::kNoBlock;
using cachestore::kNoSet;
using cachestore::Membership;

namespace {

constexpr CandidateSet kLeaves = 0;
// What has children is a candidate in the store too, which may not go yet. It makes a difference:
// the policy rates candidates when they age, and others when they become some. To go through all
// new blocks doubles the time, so only MakeRoom::kBefore, which is to be exact, has it.
constexpr CandidateSet kParents = 1;
constexpr uint32_t kAnySlot = 0;  // there are no bytes

}  // namespace

StoreCache::StoreCache(const PolicyMaker& policy, const cachestore::Trace& trace, int64_t capacity,
                       MakeRoom make_room, const FeedOptions& options)
    : capacity_(capacity),
      make_room_(make_room),
      feed_(policy, trace, options),
      policy_(&feed_.policy()) {
  CHECK(capacity > 0);
  root_ = index_.root_node(index_.AddNamespace(kReplayRoot, /*block_words=*/1));
}

void StoreCache::Announce(const cachestore::TraceRequest& request,
                          absl::Span<const BlockNumber> chain) {
  chain_.Look(index_, root_, chain);
  feed_.OnWaiting(request, chain_.keys, chain_.matched());
}

cachestore::PlaceInOrder StoreCache::Places() { return feed_.PlacesOf(&index_); }

size_t StoreCache::Serve(const cachestore::TraceRequest& request,
                         absl::Span<const BlockNumber> chain) {
  const size_t hits = chain_.Look(index_, root_, chain);
  feed_.OnRequest(request, chain_.keys, chain_.matched());
  const BlockId last_hit = hits > 0 ? chain_.ids[hits - 1] : kNoBlock;
  // The blocks before it stay because they have children; new ones are no candidates yet.
  if (last_hit != kNoBlock) {
    index_.Pin(last_hit);
    PlaceAnew(last_hit);
  }
  const size_t there = InsertFrom(hits, chain);
  if (last_hit != kNoBlock) index_.Unpin(last_hit);
  feed_.OnRequestEnd(request, chain_.keys,
                     there == chain.size() && there > 0 ? chain_.ids.back() : kNoBlock);
  if (make_room_ == MakeRoom::kBefore) {
    for (size_t i = hits > 0 ? hits - 1 : 0; i < there; ++i) PlaceAnew(chain_.ids[i]);
  } else if (there > 0) {
    PlaceAnew(chain_.ids[there - 1]);
  }
  while (size_ > capacity_) CHECK(Evict());
  return hits;
}

size_t StoreCache::InsertFrom(size_t first, absl::Span<const BlockNumber> chain) {
  for (size_t i = first; i < chain.size(); ++i) {
    if (make_room_ == MakeRoom::kBefore && size_ == capacity_ && !Evict()) return i;
    const BlockId parent = i == 0 ? root_ : chain_.ids[i - 1];
    chain_.ids[i] = index_.Insert(parent, chain_.keys[i], chain.subspan(i, 1));
    index_.AttachRam(chain_.ids[i], kAnySlot);
    ++size_;
  }
  return chain.size();
}

bool StoreCache::Evict() {
  const BlockId id = policy_->Best(kLeaves);
  if (id == kNoBlock) return false;
  CHECK(index_.MayDrop(id));
  const BlockId parent = index_.node(id).parent;
  policy_->Place(id, Membership::kRam, kNoSet);
  index_.DetachRam(id);
  index_.RemoveIfGone(id);
  --size_;
  if (parent != root_) PlaceAnew(parent);
  return true;
}

void StoreCache::PlaceAnew(BlockId id) {
  CandidateSet set = kNoSet;
  if (index_.MayDrop(id)) {
    set = kLeaves;
  } else if (index_.node(id).pins == 0 && make_room_ == MakeRoom::kBefore) {
    set = kParents;
  }
  policy_->Place(id, Membership::kRam, set);
}

}  // namespace reprise::bench
