// UseGroups: the blocks that one request used in one role, as a group that shares its fate: one
// age, one worth, one observation for the model. Members are blocks in the store, and ghosts:
// blocks that have left it and are watched on. A group may be held besides (ShadowCaches), of which
// the model learns nothing. One without members and holders is gone.
//
// A group grows older through the intervals of AgeScale. At each one the model learns that it was
// not used again, and the group's level, what its blocks are worth to keep, is taken anew, in all
// candidate sets in which the group has blocks; where it has none, when it comes into one. A new
// group's is taken when it begins. The shadow set has a level of its own: nothing that is looked at
// there changes when another is taken. Thread-compatible.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "cachestore/policy/eviction_policy.h"
#include "cachestore/policy/id_table.h"
#include "cachestore/policy/ranked_sets.h"
#include "cachestore/policy/request_book.h"
#include "cachestore/policy/reuse_model.h"

namespace reprise::cachestore {

class UseGroups {
 public:
  struct Group {
    int64_t used_us = 0;  // when its age began
    uint64_t number = 0;  // names it in candidate sets
    RequestId request = kNoRequest;
    uint32_t size = 0;  // members ever
    uint32_t members = 0;
    uint32_t holders = 0;
    GroupId older = kNoGroup;  // its neighbours among the groups of its interval
    GroupId younger = kNoGroup;
    // The store's sets that have blocks of it.
    std::array<CandidateSet, 4> sets = {kNoSet, kNoSet, kNoSet, kNoSet};
    uint32_t deepest = 0;     // place in the chain, from 0, of the deepest member ever
    uint16_t level : 10 = 0;  // in the store's sets
    uint8_t interval : 6 = 0;
    uint16_t learned_level : 10 = 0;  // the model's, in the shadow set
    bool in_shadow : 1 = false;       // in the shadow set too
    UseRole role : 3 = UseRole::kNew;
    bool in_more_sets : 1 = false;  // in more_sets_ too
    bool is_stale : 1 = true;       // the level is that of a younger age

    RankedSets::Rank rank() const { return {level, number}; }
  };

  static_assert(sizeof(Group) == 64);
  static_assert(AgeScale::kNumIntervals <= 1 << 6 && kNumUseRoles <= 1 << 3);

  // By what groups go first in the store's sets.
  enum class Order : uint8_t { kWorth, kAge };

  // A candidate set that is not the store's, in which groups always go by worth (ShadowCaches).
  static constexpr CandidateSet kShadowSet = 0;

  // The first three outlive it. `attention_tokens`: see ReusePolicy.
  UseGroups(ReuseModel& model, RequestBook& requests, RankedSets& sets, int64_t attention_tokens)
      : model_(model),
        requests_(requests),
        sets_(sets),
        attention_tokens_(static_cast<double>(attention_tokens)) {
    for (List& list : lists_) list = {};
  }

  // The number of the request's group for this role.
  static uint64_t NumberOf(const Request& request, UseRole role);

  // A new group of the request, without members: give it one next, or hold it. Its age begins now;
  // that of kRecovered, whose last use nobody knows, 48 minutes ago.
  GroupId Begin(RequestId request, UseRole role, int64_t now_us);
  const Group& at(GroupId id) const { return groups_[id]; }
  // As a set sees it.
  RankedSets::Rank RankIn(CandidateSet set, GroupId id) const {
    const Group& group = groups_[id];
    return {set == kShadowSet ? group.learned_level : group.level, group.number};
  }
  // Whether it is still that group.
  bool Is(GroupId id, uint64_t number) const {
    return id != kNoGroup && groups_[id].number == number &&
           groups_[id].members + groups_[id].holders > 0;
  }

  // A member that is so deep in its chain.
  void AddMember(GroupId id, uint32_t depth);
  // A member belongs to another group now, or is forgotten.
  void RemoveMember(GroupId id);
  // The group stays, and its age goes on, until Release.
  void Hold(GroupId id) { ++groups_[id].holders; }
  void Release(GroupId id);
  // The model learns that `count` of the members are used again now. They are still members.
  void ObserveReuse(GroupId id, uint32_t count);

  // Time passes, up to now: looks at the groups that came into their next interval, at most so many
  // a call; the others stay what they were until the next one.
  void Advance(int64_t now_us);
  // From here on. Groups take their new places some at each Advance.
  void SetOrder(Order order);
  // The age begins anew; what was learned stays.
  void Restart(GroupId id, int64_t now_us);
  // The same as members of another role.
  void ChangeRole(GroupId id, UseRole role, int64_t now_us);
  // That a member is used again, at the group's age.
  double ReuseProbability(GroupId id) const;
  // What is known of the request has changed.
  void Rate(GroupId id);
  // Has the level be that of the age. Call before a block comes into a set, or is compared.
  void Freshen(GroupId id) {
    if (groups_[id].is_stale) SetLevel(id);
  }
  // The same for the shadow set alone.
  void FreshenInShadow(GroupId id) {
    if (groups_[id].is_stale) PlaceInShadow(id, LevelOf(groups_[id]));
  }
  // Its rank if it were fresh.
  RankedSets::Rank FreshRankOf(GroupId id) const;

  // The group's first block comes into the set, or its last one leaves it.
  void EnterSet(GroupId id, CandidateSet set);
  void LeaveSet(GroupId id, CandidateSet set);

 private:
  // As Group has bits for. An order by age has fewer levels.
  static constexpr int kMaxLevel = (1 << 10) - 1;

  struct List {
    GroupId oldest = kNoGroup;
    GroupId youngest = kNoGroup;
  };

  void Append(GroupId id);
  void Unlink(GroupId id);
  void RemoveIfGone(GroupId id);
  void Observe(const Group& group, uint32_t count, bool used_again);
  // What it takes to compute the token anew that goes first, over one at the beginning of a prompt.
  double CostOf(const Group& group) const;
  // By what a group is worth, and by age alone.
  uint16_t LevelOf(const Group& group) const;
  uint16_t AgeLevelOf(const Group& group) const;
  // By the order in force, where that is the worth.
  uint16_t LevelBy(Order order, const Group& group, uint16_t learned_level) const {
    return order == Order::kAge ? AgeLevelOf(group) : learned_level;
  }
  void SetLevel(GroupId id);
  // Moves the group to where this worth puts it, in all of its sets.
  void PlaceAt(GroupId id, uint16_t learned_level);
  void PlaceInShadow(GroupId id, uint16_t learned_level);

  ReuseModel& model_;
  RequestBook& requests_;
  RankedSets& sets_;
  const double attention_tokens_;
  AgeScale ages_;
  IdTable<Group> groups_;
  Order order_ = Order::kWorth;
  GroupId num_misplaced_ = 0;  // groups below this number may stand where another order put them
  std::array<List, AgeScale::kNumIntervals> lists_;
  absl::flat_hash_map<GroupId, std::vector<CandidateSet>> more_sets_;
};

}  // namespace reprise::cachestore
