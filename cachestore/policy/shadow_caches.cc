#include "cachestore/policy/shadow_caches.h"

#include <algorithm>
#include <cmath>

#include "cachestore/base/check.h"

namespace reprise::cachestore {

ShadowCaches::ShadowCaches(UseGroups& groups, RankedSets& sets)
    : groups_(groups), sets_(sets), limit_(static_cast<uint64_t>(std::ldexp(kFirstRate, 64))) {}

void ShadowCaches::OnRequest(absl::Span<const BlockKey> keys, size_t capacity,
                             absl::FunctionRef<GroupId(size_t)> group_of) {
  while (static_cast<double>(capacity) * rate_ > kMaxSamples) HalveRate();
  FindPath(keys);
  if (path_.empty()) return;
  const auto room = static_cast<size_t>(static_cast<double>(capacity) * rate_);
  contest_.Add(Look(), room);
  UseInLru();
  UseInModel(group_of);
  while (lru_size_ > room) EvictFromLru();
  while (model_size_ > room) EvictFromModel();
}

void ShadowCaches::FindPath(absl::Span<const BlockKey> keys) {
  path_.clear();
  for (size_t i = 0; i < keys.size(); ++i) {
    if (keys[i].hi >= limit_) continue;
    const auto [it, is_new] = by_key_.try_emplace(keys[i].lo, 0);
    if (is_new) {
      it->second = samples_.Add();
      samples_[it->second] = {.key = keys[i].lo, .depth = static_cast<uint32_t>(i)};
    }
    // Another place in the chain: a caller's own key that names more than one block.
    if (samples_[it->second].depth != i) continue;
    path_.push_back(it->second);
  }
}

ContestRound ShadowCaches::Look() const {
  ContestRound round = {.lookups = path_.size()};
  while (round.lru_hits < path_.size() && samples_[path_[round.lru_hits]].in_lru) ++round.lru_hits;
  while (round.model_hits < path_.size() && samples_[path_[round.model_hits]].group != kNoGroup) {
    ++round.model_hits;
  }
  return round;
}

void ShadowCaches::UseInLru() {
  // The root is the newest one.
  for (auto i = path_.rbegin(); i != path_.rend(); ++i) {
    Sample& sample = samples_[*i];
    if (sample.in_lru) Unlink(*i);
    sample.in_lru = true;
    sample.older = newest_;
    (newest_ == kNone ? oldest_ : samples_[newest_].newer) = *i;
    newest_ = *i;
    ++lru_size_;
  }
}

void ShadowCaches::UseInModel(absl::FunctionRef<GroupId(size_t)> group_of) {
  Index parent = kNone;
  for (const Index i : path_) {
    Sample& sample = samples_[i];
    const GroupId before = sample.group;
    if (before != kNoGroup && sample.children == 0) Leave(i);
    if (before == kNoGroup) {
      sample.parent = parent;
      if (parent != kNone) ++samples_[parent].children;
      ++model_size_;
    }
    sample.group = group_of(sample.depth);
    groups_.Hold(sample.group);
    if (before != kNoGroup) groups_.Release(before);
    parent = i;
  }
  for (const Index i : path_) {
    if (samples_[i].children == 0) Enter(i);
  }
}

void ShadowCaches::EvictFromLru() {
  const Index i = oldest_;
  Unlink(i);
  ForgetIfGone(i);
}

void ShadowCaches::EvictFromModel() {
  const Index i = sets_.Best(UseGroups::kShadowSet);
  Leave(i);
  Sample& sample = samples_[i];
  groups_.Release(sample.group);
  sample.group = kNoGroup;
  --model_size_;
  const Index parent = sample.parent;
  if (parent != kNone && --samples_[parent].children == 0) Enter(parent);
  ForgetIfGone(i);
}

void ShadowCaches::Unlink(Index i) {
  Sample& sample = samples_[i];
  (sample.newer == kNone ? newest_ : samples_[sample.newer].older) = sample.older;
  (sample.older == kNone ? oldest_ : samples_[sample.older].newer) = sample.newer;
  sample.newer = sample.older = kNone;
  sample.in_lru = false;
  --lru_size_;
}

void ShadowCaches::Enter(Index i) {
  const Sample& sample = samples_[i];
  groups_.FreshenInShadow(sample.group);
  const RankedSets::Rank rank = groups_.RankIn(UseGroups::kShadowSet, sample.group);
  if (sets_.Insert(UseGroups::kShadowSet, rank, sample.depth, i)) {
    groups_.EnterSet(sample.group, UseGroups::kShadowSet);
  }
}

void ShadowCaches::Leave(Index i) {
  const Sample& sample = samples_[i];
  const RankedSets::Rank rank = groups_.RankIn(UseGroups::kShadowSet, sample.group);
  if (sets_.Erase(UseGroups::kShadowSet, rank, sample.depth, i)) {
    groups_.LeaveSet(sample.group, UseGroups::kShadowSet);
  }
}

void ShadowCaches::ForgetIfGone(Index i) {
  const Sample& sample = samples_[i];
  if (sample.in_lru || sample.group != kNoGroup) return;
  by_key_.erase(sample.key);
  samples_.Remove(i);
}

void ShadowCaches::HalveRate() {
  while (lru_size_ > 0) EvictFromLru();
  while (model_size_ > 0) EvictFromModel();
  rate_ /= 2;
  limit_ /= 2;
}

}  // namespace reprise::cachestore
