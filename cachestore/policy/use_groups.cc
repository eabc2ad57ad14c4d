#include "cachestore/policy/use_groups.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cachestore/base/check.h"

namespace reprise::cachestore {
namespace {

// Levels are logarithms of hits per second held, weighted by their cost: so many for a factor of
// two, from 2^-32 on.
constexpr float kLevelsPerOctave = 16;
constexpr float kLowestOctave = -32;

// What became older in an idle night is not all looked at under the lock that a request waits for.
constexpr int kMostAtOnce = 512;

// From 48 minutes on. All that is recovered is of one age, and would go through the short intervals
// of the first minutes at once.
constexpr uint8_t kRecoveredInterval = 26;

// A group's weight in learning grows with its size, but slower: that a long prompt is used again
// is one observation, and more is at stake.
float WeightOf(uint32_t count, uint32_t size) {
  return static_cast<float>(count) / static_cast<float>(size) *
         std::sqrt(std::sqrt(static_cast<float>(size)));
}

}  // namespace

uint64_t UseGroups::NumberOf(const Request& request, UseRole role) {
  // By its blocks' place in the chain: of one request the deepest go first.
  static constexpr std::array<uint64_t, kNumUseRoles> kPlace = {
      /*kNew*/ 3,    /*kPartialTail*/ 1, /*kOutput*/ 2, /*kLineage*/ 4,
      /*kShared*/ 5, /*kSuperseded*/ 0,  /*kClosed*/ 0, /*kRecovered*/ 0};
  return request.first_number + kPlace[static_cast<size_t>(role)];
}

GroupId UseGroups::Begin(RequestId request, UseRole role, int64_t now_us) {
  const GroupId id = groups_.Add();
  Group& group = groups_[id];
  group.request = request;
  group.role = role;
  group.interval = role == UseRole::kRecovered ? kRecoveredInterval : 0;
  group.used_us = now_us - static_cast<int64_t>(ages_.start(group.interval) * 1e6f);
  group.number = NumberOf(requests_.at(request), role);
  requests_.AddGroup(request);
  Append(id);
  // Now, and not when its first block comes into a set, which is sooner in a store than in a
  // replay.
  SetLevel(id);
  return id;
}

void UseGroups::AddMember(GroupId id, uint32_t depth) {
  Group& group = groups_[id];
  ++group.size;
  ++group.members;
  if (depth <= group.deepest) return;
  group.deepest = depth;
  if (attention_tokens_ > 0 && group.sets[0] == kNoSet) group.is_stale = true;
}

void UseGroups::RemoveMember(GroupId id) {
  Group& group = groups_[id];
  CHECK(group.members > 0);
  --group.members;
  RemoveIfGone(id);
}

void UseGroups::Release(GroupId id) {
  Group& group = groups_[id];
  CHECK(group.holders > 0);
  --group.holders;
  RemoveIfGone(id);
}

void UseGroups::RemoveIfGone(GroupId id) {
  const Group& group = groups_[id];
  if (group.members > 0 || group.holders > 0) return;
  CHECK(group.sets[0] == kNoSet && !group.in_shadow);
  Unlink(id);
  requests_.RemoveGroup(group.request);
  groups_.Remove(id);
}

void UseGroups::Observe(const Group& group, uint32_t count, bool used_again) {
  if (count == 0) return;
  model_.Observe(group.role, requests_.at(group.request).features, group.interval, used_again,
                 WeightOf(count, group.size));
}

void UseGroups::ObserveReuse(GroupId id, uint32_t count) {
  Observe(groups_[id], std::min(count, groups_[id].members), true);
}

void UseGroups::Advance(int64_t now_us) {
  int left = kMostAtOnce;
  for (int i = 0; i + 1 < AgeScale::kNumIntervals; ++i) {
    const auto interval_us = static_cast<int64_t>(ages_.start(i + 1) * 1e6f);
    for (; lists_[i].oldest != kNoGroup && left > 0; --left) {
      const GroupId id = lists_[i].oldest;
      Group& group = groups_[id];
      if (group.used_us + interval_us > now_us) break;
      Observe(group, group.members, false);
      Unlink(id);
      ++group.interval;
      Append(id);
      Rate(id);
    }
  }
  for (; num_misplaced_ > 0 && left > 0; --left) {
    --num_misplaced_;
    PlaceAt(num_misplaced_, groups_[num_misplaced_].learned_level);
  }
}

void UseGroups::SetOrder(Order order) {
  if (order == order_) return;
  order_ = order;
  num_misplaced_ = groups_.num_ids();
}

void UseGroups::Restart(GroupId id, int64_t now_us) {
  Group& group = groups_[id];
  if (group.used_us >= now_us) return;
  Unlink(id);
  group.used_us = now_us;
  const bool was_young = group.interval == 0;
  group.interval = 0;
  Append(id);
  if (!was_young) Rate(id);
}

void UseGroups::ChangeRole(GroupId id, UseRole role, int64_t now_us) {
  Group& group = groups_[id];
  group.role = role;
  group.size = group.members;
  Restart(id, now_us);
  Rate(id);
}

double UseGroups::CostOf(const Group& group) const {
  if (attention_tokens_ == 0) return 1;
  // That of the deepest member when the level was taken, as the deepest goes first. By the
  // shallowest one, the beginning of a long prompt would go before its end, which is worth nothing
  // without it.
  const double tokens =
      static_cast<double>(group.deepest) * requests_.at(group.request).block_tokens;
  return 1 + tokens / attention_tokens_;
}

uint16_t UseGroups::LevelOf(const Group& group) const {
  const Request& request = requests_.at(group.request);
  const float age = ages_.start(group.interval);
  if (request.ttl_seconds > 0 && age >= request.ttl_seconds) return 0;
  double index = model_.Index(group.role, request.features, group.interval);
  if (request.told_probability >= 0 && age < 2 * request.told_seconds) {
    const double wait = std::max(request.told_seconds - age, request.told_seconds / 8 + 0.1f);
    index = request.told_probability / wait;
  }
  // A step of priority is a factor of two.
  const double octave = std::log2(index * CostOf(group)) + request.priority - kLowestOctave;
  return static_cast<uint16_t>(std::clamp<double>(octave * kLevelsPerOctave, 0, kMaxLevel));
}

double UseGroups::ReuseProbability(GroupId id) const {
  const Group& group = groups_[id];
  const Request& request = requests_.at(group.request);
  const float age = ages_.start(group.interval);
  if (request.ttl_seconds > 0 && age >= request.ttl_seconds) return 0;
  if (request.told_probability >= 0 && age < 2 * request.told_seconds) {
    return request.told_probability;
  }
  return model_.ReuseProbability(group.role, request.features, group.interval);
}

uint16_t UseGroups::AgeLevelOf(const Group& group) const {
  // There is no worth to double: of two priorities the lower one goes first, whatever the ages. Of
  // equal levels the lower number goes first: that of the earlier request, whatever uses that are
  // none have had the age begin anew since.
  const int priority = requests_.at(group.request).priority;
  return static_cast<uint16_t>(priority - std::numeric_limits<int8_t>::min());
}

void UseGroups::Rate(GroupId id) {
  Group& group = groups_[id];
  group.is_stale = true;
  if (group.sets[0] != kNoSet) {
    SetLevel(id);
  } else if (group.in_shadow) {
    FreshenInShadow(id);
  }
}

RankedSets::Rank UseGroups::FreshRankOf(GroupId id) const {
  const Group& group = groups_[id];
  if (!group.is_stale) return group.rank();
  return {LevelBy(order_, group, LevelOf(group)), group.number};
}

void UseGroups::SetLevel(GroupId id) {
  groups_[id].is_stale = false;
  PlaceAt(id, LevelOf(groups_[id]));
}

void UseGroups::PlaceAt(GroupId id, uint16_t learned_level) {
  PlaceInShadow(id, learned_level);
  Group& group = groups_[id];
  const uint16_t level = LevelBy(order_, group, learned_level);
  if (level == group.level) return;
  for (const CandidateSet set : group.sets) {
    if (set != kNoSet) sets_.Move(set, group.rank(), level);
  }
  if (group.in_more_sets) {
    for (const CandidateSet set : more_sets_.at(id)) sets_.Move(set, group.rank(), level);
  }
  group.level = level;
}

void UseGroups::PlaceInShadow(GroupId id, uint16_t learned_level) {
  Group& group = groups_[id];
  if (group.in_shadow && learned_level != group.learned_level) {
    sets_.Move(kShadowSet, RankIn(kShadowSet, id), learned_level);
  }
  group.learned_level = learned_level;
}

void UseGroups::EnterSet(GroupId id, CandidateSet set) {
  Group& group = groups_[id];
  if (set == kShadowSet) {
    group.in_shadow = true;
    return;
  }
  const auto free = std::find(group.sets.begin(), group.sets.end(), kNoSet);
  if (free != group.sets.end()) {
    *free = set;
    return;
  }
  group.in_more_sets = true;
  more_sets_[id].push_back(set);
}

void UseGroups::LeaveSet(GroupId id, CandidateSet set) {
  Group& group = groups_[id];
  if (set == kShadowSet) {
    group.in_shadow = false;
    return;
  }
  std::vector<CandidateSet>* more = group.in_more_sets ? &more_sets_.at(id) : nullptr;
  const auto at = std::find(group.sets.begin(), group.sets.end(), set);
  if (at == group.sets.end()) {
    CHECK(more != nullptr);
    more->erase(std::find(more->begin(), more->end(), set));
  } else if (more != nullptr) {
    *at = more->back();
    more->pop_back();
  } else {
    // The used places come first.
    const auto end = std::find(group.sets.begin(), group.sets.end(), kNoSet);
    *at = *(end - 1);
    *(end - 1) = kNoSet;
  }
  if (more == nullptr || !more->empty()) return;
  more_sets_.erase(id);
  group.in_more_sets = false;
}

void UseGroups::Append(GroupId id) {
  Group& group = groups_[id];
  List& list = lists_[group.interval];
  group.younger = kNoGroup;
  group.older = list.youngest;
  (list.youngest == kNoGroup ? list.oldest : groups_[list.youngest].younger) = id;
  list.youngest = id;
}

void UseGroups::Unlink(GroupId id) {
  Group& group = groups_[id];
  List& list = lists_[group.interval];
  (group.older == kNoGroup ? list.oldest : groups_[group.older].younger) = group.younger;
  (group.younger == kNoGroup ? list.youngest : groups_[group.younger].older) = group.older;
}

}  // namespace reprise::cachestore
