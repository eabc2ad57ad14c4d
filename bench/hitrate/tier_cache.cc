#include "bench/hitrate/tier_cache.h"

#include <utility>
#include <vector>

#include "bench/hitrate/trace_keys.h"
#include "cachestore/base/check.h"

namespace reprise::bench {

using cachestore::BlockId;
using cachestore::BlockNumber;
using cachestore::CandidateSet;
using cachestore::DiskState;
using cachestore::kNoBlock;
using cachestore::kNoSet;
using cachestore::Membership;
using Node = cachestore::PrefixIndex::Node;

namespace {

constexpr CandidateSet kInGpu = 0;  // all of them
constexpr CandidateSet kInRam = 1;  // all of them
constexpr CandidateSet kErasable = 2;
constexpr uint32_t kAnySlot = 0;  // there are no bytes

}  // namespace

TierCache::TierCache(const PolicyMaker& eviction, const cachestore::Trace& trace,
                     std::unique_ptr<cachestore::AdmissionPolicy> admission,
                     const TierCapacities& capacities)
    : capacities_(capacities),
      feed_(eviction, trace, {}),
      eviction_(&feed_.policy()),
      admission_(std::move(admission)) {
  CHECK(capacities.ram > 0);
  root_ = index_.root_node(index_.AddNamespace(kReplayRoot, /*block_words=*/1));
}

cachestore::PlaceInOrder TierCache::Places() { return feed_.PlacesOf(&index_); }

size_t TierCache::Serve(const cachestore::TraceRequest& request,
                        absl::Span<const BlockNumber> chain) {
  const size_t hits = chain_.Look(index_, root_, chain);
  feed_.OnRequest(request, chain_.keys, chain_.matched());
  for (const BlockId id : chain_.matched()) Hit(id, request.is_lookup());
  for (size_t i = hits; i < chain.size(); ++i) {
    const BlockId parent = i == 0 ? root_ : chain_.ids[i - 1];
    chain_.ids[i] = index_.Insert(parent, chain_.keys[i], chain.subspan(i, 1));
    has_gpu() ? AttachGpu(chain_.ids[i]) : AttachRam(chain_.ids[i]);
    if (i > 0) Refresh(parent);
  }
  feed_.OnRequestEnd(request, chain_.keys, chain.empty() ? kNoBlock : chain_.ids.back());
  while (gpu_size_ > capacities_.gpu) EvictFromGpu();
  while (ram_size_ > capacities_.ram) {
    // Where all that RAM has is needed by blocks that only the GPU has, a last one of those goes.
    if (!EvictFromRam()) DetachGpu(FirstThatNeedsNoRam());
  }
  return hits;
}

void TierCache::Hit(BlockId id, bool counts) {
  const Node& node = index_.node(id);
  if (counts) {
    ++(node.in_gpu ? tally_.gpu_hits : node.in_ram() ? tally_.ram_hits : tally_.disk_hits);
  }
  index_.SetReused(id);
  index_.SetRejected(id, false);
  if (!node.in_memory()) AttachRam(id);
  if (has_gpu() && !node.in_gpu) AttachGpu(id);
}

void TierCache::AttachGpu(BlockId id) {
  index_.AttachGpu(id);
  ++gpu_size_;
  Refresh(id);
}

void TierCache::AttachRam(BlockId id) {
  index_.AttachRam(id, kAnySlot);
  ++ram_size_;
  Refresh(id);
}

void TierCache::DetachGpu(BlockId id) {
  index_.DetachGpu(id);
  --gpu_size_;
  RefreshOrRemove(id);
}

void TierCache::DetachRam(BlockId id) {
  index_.DetachRam(id);
  --ram_size_;
  RefreshOrRemove(id);
}

void TierCache::EvictFromGpu() {
  BlockId victim = eviction_->Best(kInGpu);
  if (!index_.MayEvictFromGpu(victim)) {
    if (ram_size_ < capacities_.ram || EvictFromRam()) {
      // It may have come there meanwhile, as the ancestor of one that went to disk.
      if (!index_.node(victim).in_ram()) AttachRam(victim);
    } else {
      victim = FirstThatNeedsNoRam();
    }
  }
  DetachGpu(victim);
}

BlockId TierCache::FirstThatNeedsNoRam() const {
  BlockId first = kNoBlock;
  eviction_->ProposeVictims(kInGpu, [&](BlockId id) {
    if (index_.MayEvictFromGpu(id) || index_.MayDropFromGpu(id)) first = id;
    return first == kNoBlock;
  });
  // Where nothing may leave RAM every block there has a child, and the last of each chain is here.
  CHECK(first != kNoBlock);
  return first;
}

bool TierCache::EvictFromRam() {
  BlockId victim = kNoBlock;
  WayOut way = WayOut::kNone;
  eviction_->ProposeVictims(kInRam, [&](BlockId id) {
    way = WayOutOfRam(id);
    if (way != WayOut::kNone) victim = id;
    return victim == kNoBlock;
  });
  if (victim == kNoBlock) return false;
  if (way == WayOut::kWrite && !WriteToDisk(victim)) {
    // The disk is full of what is needed. The block, or what is below it, is dropped later.
    index_.SetRejected(victim, true);
    return EvictFromRam();
  }
  DetachRam(victim);
  return true;
}

TierCache::WayOut TierCache::WayOutOfRam(BlockId id) const {
  if (index_.MayEvict(id)) return WayOut::kCopyStays;
  if (!has_disk() && index_.MayLeaveToGpu(id)) return WayOut::kCopyStays;
  if (has_disk() && !index_.node(id).rejected && Admits(id)) return WayOut::kWrite;
  return index_.MayDrop(id) ? WayOut::kDrop : WayOut::kNone;
}

bool TierCache::Admits(BlockId id) const {
  const bool is_full = index_.num_on_disk() >= capacities_.disk;
  const BlockId on_disk = is_full ? eviction_->Best(kErasable) : kNoBlock;
  return admission_->Admit(
      {.reused = index_.node(id).reused,
       .disk_is_full = is_full,
       .goes_before_victim = on_disk != kNoBlock && eviction_->GoesBefore(id, on_disk),
       .reuse_probability = [&] { return eviction_->ReuseProbability(id); }});
}

bool TierCache::WriteToDisk(BlockId id) {
  std::vector<BlockId> missing;
  for (BlockId at = id; at != root_ && index_.node(at).disk == DiskState::kNone;
       at = index_.node(at).parent) {
    missing.push_back(at);
  }
  for (; !missing.empty(); missing.pop_back()) {
    const BlockId block = missing.back();
    if (index_.num_on_disk() >= capacities_.disk && !EvictFromDisk()) return false;
    // What only the GPU has comes through RAM.
    if (!index_.node(block).in_ram()) AttachRam(block);
    index_.BeginStore(block);
    index_.EndStore(block);
    ++tally_.disk_writes;
    Refresh(block);
    if (index_.node(block).parent != root_) Refresh(index_.node(block).parent);
  }
  return true;
}

bool TierCache::EvictFromDisk() {
  const BlockId id = eviction_->Best(kErasable);
  if (id == kNoBlock) return false;
  CHECK(index_.MayEraseFromDisk(id));
  index_.BeginErase(id);
  index_.EndErase(id);
  RefreshOrRemove(id);
  return true;
}

void TierCache::Refresh(BlockId id) {
  const Node& node = index_.node(id);
  eviction_->Place(id, Membership::kGpu, node.in_gpu ? kInGpu : kNoSet);
  eviction_->Place(id, Membership::kRam, node.in_ram() ? kInRam : kNoSet);
  eviction_->Place(id, Membership::kDisk, index_.MayEraseFromDisk(id) ? kErasable : kNoSet);
}

void TierCache::RefreshOrRemove(BlockId id) {
  Refresh(id);
  const BlockId parent = index_.node(id).parent;
  index_.RemoveIfGone(id);
  if (parent != root_) Refresh(parent);
}

}  // namespace reprise::bench
