#include "cachestore/policy/lru_policy.h"

#include <algorithm>

#include "cachestore/base/check.h"

namespace reprise::cachestore {
namespace {

// 48 bits of clock outlive any process; deeper blocks than this share a place.
constexpr int kDepthBits = 16;
constexpr uint64_t kMaxDepth = (uint64_t{1} << kDepthBits) - 1;

uint64_t RankOf(uint64_t clock, uint64_t depth) {
  return clock << kDepthBits | (kMaxDepth - std::min(depth, kMaxDepth));
}
uint64_t ClockOf(uint64_t rank) { return rank >> kDepthBits; }
uint64_t DepthOf(uint64_t rank) { return kMaxDepth - (rank & kMaxDepth); }

}  // namespace

void LruPolicy::OnUse(BlockId id, BlockId idle_parent) {
  if (idle_parent == kNoBlock) {
    SetRank(id, RankOf(++clock_, 0));
    return;
  }
  const Rank parent = Entry(idle_parent).rank;
  SetRank(id, RankOf(ClockOf(parent), DepthOf(parent) + 1));
}

void LruPolicy::OnRequest(const StoreRequest& request) {
  ++clock_;
  for (size_t i = 0; i < request.matched.size(); ++i) {
    SetRank(request.matched[i], RankOf(clock_, i));
  }
}

void LruPolicy::Place(BlockId id, Membership membership, CandidateSet set) {
  Block& block = Entry(id);
  CandidateSet& current = block.sets[static_cast<size_t>(membership)];
  if (current == set) return;
  if (current != kNoSet) sets_[current].erase(PositionOf(id));
  current = set;
  if (set == kNoSet) return;
  if (set >= sets_.size()) sets_.resize(size_t{set} + 1);
  CHECK(sets_[set].insert(PositionOf(id)).second);
}

CandidateSet LruPolicy::SetOf(BlockId id, Membership membership) const {
  return id < blocks_.size() ? blocks_[id].sets[static_cast<size_t>(membership)] : kNoSet;
}

BlockId LruPolicy::Best(CandidateSet set) const {
  return size(set) == 0 ? kNoBlock : sets_[set].begin()->id;
}

void LruPolicy::ProposeVictims(CandidateSet set, absl::FunctionRef<bool(BlockId)> consider) const {
  if (size(set) == 0) return;
  for (const Position& position : sets_[set]) {
    if (!consider(position.id)) return;
  }
}

bool LruPolicy::GoesBefore(BlockId a, BlockId b) const { return PositionOf(a) < PositionOf(b); }

bool LruPolicy::UsedSince(BlockId id, uint64_t moment) const {
  return ClockOf(blocks_[id].rank) > moment;
}

size_t LruPolicy::size(CandidateSet set) const {
  return set < sets_.size() ? sets_[set].size() : 0;
}

LruPolicy::Block& LruPolicy::Entry(BlockId id) {
  if (id >= blocks_.size()) blocks_.resize(size_t{id} + 1);
  return blocks_[id];
}

void LruPolicy::SetRank(BlockId id, Rank rank) {
  Block& block = Entry(id);
  for (const CandidateSet set : block.sets) {
    if (set != kNoSet) sets_[set].erase(PositionOf(id));
  }
  block.rank = rank;
  block.turn = ++turn_;
  for (const CandidateSet set : block.sets) {
    if (set != kNoSet) sets_[set].insert(PositionOf(id));
  }
}

}  // namespace reprise::cachestore
