#include "cachestore/policy/reuse_policy.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "cachestore/base/check.h"

namespace reprise::cachestore {
namespace {

// A conversation goes on from a block this near to its end: a template may rewrite the last words,
// and thinking may be left out.
constexpr int64_t kRewrittenTokens = 1024;
constexpr int64_t kRewrittenShare = 10;

constexpr size_t kMinGhosts = 65536;
constexpr size_t kBlocksPerGhost = 16;

constexpr uint32_t kMaxAwaited = 255;
constexpr RankedSets::Rank kAwaited = {.level = 0xffff, .group = RankedSets::kMaxGroup};

// A request whose end nobody tells of is over then, if nobody looks at its blocks.
constexpr int64_t kMaxOpenUs = 600'000'000;

// Of blocks recovered one after the other.
constexpr uint32_t kMaxRecoveredTogether = 256;

uint16_t Saturated(int64_t value) {
  return static_cast<uint16_t>(std::min<int64_t>(value, std::numeric_limits<uint16_t>::max()));
}

}  // namespace

ReusePolicy::ReusePolicy(int64_t attention_tokens)
    : groups_(model_, requests_, sets_, attention_tokens), ghosts_(kMinGhosts) {}

ReusePolicy::Block& ReusePolicy::At(BlockId id) {
  CHECK(id < blocks_.size() && blocks_[id].group != kNoGroup);
  return blocks_[id];
}

void ReusePolicy::OnInsert(BlockId id, BlockId parent, const BlockKey& key) {
  ghosts_.set_capacity(std::max(kMinGhosts, ++num_blocks_ / kBlocksPerGhost));
  if (id >= blocks_.size()) blocks_.resize(size_t{id} + 1);
  Block& block = blocks_[id];
  CHECK(block.group == kNoGroup);
  if (parent != kNoBlock) {
    block.depth = std::min<uint32_t>(blocks_[parent].depth + 1, RankedSets::kMaxDepth);
  }
  if (const std::optional<Ghost> ghost = ghosts_.Take(key); ghost.has_value()) {
    block.group = ghost->group;
    block.uses = ghost->uses;
    block.since = ghost->since;
    return;
  }
  block.uses = 1;
  block.since = 1;
  if (parent == kNoBlock) {
    block.group = NewGroup(UseRole::kNew, block.depth);
  } else {
    block.group = GroupBelow(parent, block);
  }
  groups_.AddMember(block.group, block.depth);
}

GroupId ReusePolicy::GroupBelow(BlockId parent, Block& block) {
  const UseGroups::Group& above = groups_.at(At(parent).group);
  RequestId request = above.request;
  if (!requests_.IsLast(request)) {
    // Two answers to one prompt are written side by side.
    if (above.role == UseRole::kNew || above.role == UseRole::kOutput) return At(parent).group;
    request = requests_.Continue(request);
  }
  Conversation& conversation = requests_.conversation_of(request);
  conversation.blocks = std::max<int64_t>(conversation.blocks, block.depth + 1);
  block.since = Saturated(conversation.turn);
  return GroupFor(request, RoleOfNew(request, block.depth));
}

void ReusePolicy::OnErase(BlockId id, const BlockKey& key) {
  --num_blocks_;
  is_full_ = true;
  Block& block = At(id);
  CHECK(block.sets.empty());
  const Ghost ghost = {block.group, block.uses, block.since};
  block = Block();
  // The key may have one: a request looked for it while the block could not be read any more.
  AddGhost(key, ghost);
}

void ReusePolicy::OnRequest(const StoreRequest& request) {
  const int64_t time_us = request.time_ms * 1000;
  if (request.hints.use == RequestHints::Use::kPart && IsPartOfOpen(Look(request), time_us)) {
    Release(waiting_.Take(request.hints.request));
    return Refresh(request.matched);
  }
  if (request.hints.use == RequestHints::Use::kAhead) return OnWaiting(request, time_us);
  Advance(time_us);
  Release(waiting_.Take(request.hints.request));
  if (request.keys.empty()) return;
  Known known = Look(request);
  if (known.turn_before == kNoRequest) {
    known.turn_before = requests_.TurnBefore(request.namespace_id, request.hints);
    known.is_rewritten = known.turn_before != kNoRequest;
  }
  ObserveReuse(known);
  const GroupsOfTurn left =
      known.turn_before == kNoRequest ? NoGroups() : GroupsOf(known.turn_before);
  const auto prompt_blocks = static_cast<int64_t>(request.keys.size());
  const auto known_blocks = static_cast<int64_t>(known.blocks());
  const bool has_partial_tail = request.prompt_tokens < prompt_blocks * request.block_tokens;
  const RequestId id = requests_.Begin(
      known.turn_before,
      {.used_us = now_us_,
       .namespace_id = request.namespace_id,
       .block_tokens = request.block_tokens,
       .prompt_tokens = request.prompt_tokens,
       .known_tokens = std::min(known_blocks * request.block_tokens, request.prompt_tokens),
       .prompt_blocks = static_cast<int32_t>(prompt_blocks),
       .has_partial_tail = has_partial_tail},
      request.hints);
  MoveToGroupsOf(id, request, known);
  const size_t next = known.blocks();
  if (next < request.keys.size()) ExpectBlock(id, request.keys[next], next);
  for (const auto& [group, number] : left) {
    if (groups_.Is(group, number)) groups_.ChangeRole(group, UseRole::kSuperseded, now_us_);
  }
  CompareOrders(id, request);
}

ReusePolicy::Known ReusePolicy::Look(const StoreRequest& request) {
  Known known = {.matched = request.matched};
  for (const BlockKey& key : request.keys.subspan(request.matched.size())) {
    Ghost* const ghost = ghosts_.Find(key);
    if (ghost == nullptr) break;
    known.ghosts.push_back(ghost);
  }
  if (known.blocks() == 0) return known;
  known.last_group = GroupOfKnown(known, known.blocks() - 1);
  const RequestId before = groups_.at(known.last_group).request;
  const int64_t blocks = requests_.conversation_of(before).blocks;
  const int64_t rewritten =
      std::min(std::max(kRewrittenTokens / std::max<int64_t>(1, request.block_tokens),
                        blocks / kRewrittenShare),
               blocks / 2);
  if (blocks - static_cast<int64_t>(known.blocks()) <= rewritten) known.turn_before = before;
  return known;
}

GroupId ReusePolicy::GroupOfKnown(const Known& known, size_t i) const {
  const size_t matched = known.matched.size();
  return i < matched ? blocks_[known.matched[i]].group : known.ghosts[i - matched]->group;
}

void ReusePolicy::ObserveReuse(const Known& known) {
  const size_t blocks = known.blocks();
  for (size_t i = 0; i < blocks;) {
    const GroupId group = GroupOfKnown(known, i);
    size_t end = i + 1;
    while (end < blocks && GroupOfKnown(known, end) == group) ++end;
    groups_.ObserveReuse(group, static_cast<uint32_t>(end - i));
    i = end;
  }
}

ReusePolicy::GroupsOfTurn ReusePolicy::NoGroups() {
  GroupsOfTurn groups;
  groups.fill({kNoGroup, 0});
  return groups;
}

ReusePolicy::GroupsOfTurn ReusePolicy::GroupsOf(RequestId request) {
  GroupsOfTurn groups = NoGroups();
  const Conversation& conversation = requests_.conversation_of(request);
  if (conversation.last == kNoRequest) return groups;
  for (int role = 0; role < kNumUseRoles; ++role) {
    if (static_cast<UseRole>(role) == UseRole::kShared) continue;
    groups[role] = {conversation.groups[role], UseGroups::NumberOf(requests_.at(conversation.last),
                                                                   static_cast<UseRole>(role))};
  }
  return groups;
}

void ReusePolicy::MoveToGroupsOf(RequestId id, const StoreRequest& request, const Known& known) {
  const Conversation& conversation = requests_.conversation_of(id);
  // What a rewritten history begins with now was another conversation's, as far as is known.
  const bool goes_on = known.turn_before != kNoRequest && !known.is_rewritten;
  // Of blocks that only this conversation used there is one use a turn.
  const auto role_of = [&](size_t i, uint16_t uses, uint16_t since) {
    if (conversation.has_partial_tail && i + 1 == request.keys.size()) return UseRole::kPartialTail;
    return goes_on && uses <= conversation.turn - since + 1 ? UseRole::kLineage : UseRole::kShared;
  };
  UseRole last_role = UseRole::kNew;  // which known blocks never have
  GroupId last_group = kNoGroup;
  const auto group_for = [&](UseRole role) {
    if (role != last_role) last_group = GroupFor(id, last_role = role);
    return last_group;
  };
  // The deepest first: a group's level is taken when its first block comes into a set, and counts
  // how deep it reaches.
  for (size_t i = known.blocks(); i-- > 0;) {
    if (i >= known.matched.size()) {
      Ghost& ghost = *known.ghosts[i - known.matched.size()];
      ghost.uses = Saturated(ghost.uses + 1);
      const GroupId before = ghost.group;
      ghost.group = group_for(role_of(i, ghost.uses, ghost.since));
      groups_.AddMember(ghost.group, static_cast<uint32_t>(i));
      groups_.RemoveMember(before);
      continue;
    }
    const BlockId block_id = known.matched[i];
    Block& block = blocks_[block_id];
    block.used = moment_;
    block.uses = Saturated(block.uses + 1);
    Join(block_id, group_for(role_of(i, block.uses, block.since)));
  }
}

void ReusePolicy::CompareOrders(RequestId id, const StoreRequest& request) {
  if (!is_full_) return;
  shadows_.OnRequest(request.keys, num_blocks_, [&](size_t i) {
    if (i < request.matched.size()) return blocks_[request.matched[i]].group;
    const Ghost* ghost = ghosts_.Find(request.keys[i]);
    return ghost != nullptr ? ghost->group : GroupFor(id, RoleOfNew(id, static_cast<uint32_t>(i)));
  });
  groups_.SetOrder(shadows_.lru_is_better() ? UseGroups::Order::kAge : UseGroups::Order::kWorth);
}

void ReusePolicy::ExpectBlock(RequestId id, const BlockKey& key, size_t depth) {
  const GroupId group = GroupFor(id, RoleOfNew(id, static_cast<uint32_t>(depth)));
  groups_.AddMember(group, static_cast<uint32_t>(depth));
  const uint16_t turn = Saturated(requests_.conversation_of(id).turn);
  AddGhost(key, {group, /*uses=*/1, /*since=*/turn});
}

void ReusePolicy::AddGhost(const BlockKey& key, const Ghost& ghost) {
  for (const Ghost& forgotten : ghosts_.Add(key, ghost)) groups_.RemoveMember(forgotten.group);
}

UseRole ReusePolicy::RoleOfNew(RequestId request, uint32_t depth) const {
  const Conversation& conversation = requests_.conversation_of(request);
  const auto blocks = static_cast<uint32_t>(conversation.prompt_blocks);
  if (depth >= blocks) return UseRole::kOutput;
  return conversation.has_partial_tail && depth + 1 == blocks ? UseRole::kPartialTail
                                                              : UseRole::kNew;
}

GroupId ReusePolicy::GroupFor(RequestId request, UseRole role) {
  GroupId& group = requests_.conversation_of(request).groups[static_cast<size_t>(role)];
  if (!groups_.Is(group, UseGroups::NumberOf(requests_.at(request), role))) {
    group = groups_.Begin(request, role, now_us_);
  }
  return group;
}

void ReusePolicy::OnRequestEnd(const StoreRequestEnd& end) {
  if (!end.end.is_over() && !end.end.hints.tell_worth()) return;
  GroupId group = kNoGroup;
  if (end.last != kNoBlock) {
    group = blocks_[end.last].group;
  } else if (!end.keys.empty()) {
    const Ghost* ghost = ghosts_.Find(end.keys.back());
    if (ghost != nullptr) group = ghost->group;
  }
  if (group == kNoGroup) return;
  const RequestId request = groups_.at(group).request;
  const uint64_t told = requests_.at(request).told_number;
  if (told != 0 && end.end.hints.request != 0 && told != end.end.hints.request) return;
  requests_.End(request, end.end);
  if (!requests_.IsLast(request)) return;
  // A copy, because a change of role may not change what it goes through.
  const std::array<GroupId, kNumUseRoles> groups = requests_.conversation_of(request).groups;
  for (int i = 0; i < kNumUseRoles; ++i) {
    const auto role = static_cast<UseRole>(i);
    if (!groups_.Is(groups[i], UseGroups::NumberOf(requests_.at(request), role))) continue;
    if (end.end.hints.session_closed && role != UseRole::kShared) {
      groups_.ChangeRole(groups[i], UseRole::kClosed, now_us_);
    } else {
      groups_.Rate(groups[i]);
    }
  }
}

bool ReusePolicy::IsPartOfOpen(const Known& known, int64_t time_us) const {
  if (known.blocks() == 0) return true;
  const UseGroups::Group& group = groups_.at(known.last_group);
  return requests_.at(group.request).is_open && time_us - group.used_us < kMaxOpenUs;
}

void ReusePolicy::Refresh(absl::Span<const BlockId> matched) {
  GroupId before = kNoGroup;
  for (const BlockId id : matched) {
    blocks_[id].used = moment_;
    const GroupId group = blocks_[id].group;
    if (group != before) groups_.Restart(group, now_us_);
    before = group;
  }
}

void ReusePolicy::OnUse(BlockId id, BlockId) {
  At(id).used = moment_;
  groups_.Restart(blocks_[id].group, now_us_);
}

void ReusePolicy::OnRecover(BlockId id) {
  const Block& block = At(id);
  // They come from the youngest end of a chain up to its root.
  GroupId group = kNoGroup;
  if (last_recovered_ != kNoBlock && blocks_[last_recovered_].depth == block.depth + 1) {
    group = blocks_[last_recovered_].group;
  }
  const bool goes_on = group != kNoGroup && groups_.at(group).role == UseRole::kRecovered &&
                       groups_.at(group).size < kMaxRecoveredTogether;
  Join(id, goes_on ? group : NewGroup(UseRole::kRecovered, block.depth));
  last_recovered_ = id;
}

GroupId ReusePolicy::NewGroup(UseRole role, uint32_t depth) {
  // Of a prompt without an end: what comes below is new as well, and no answer.
  const RequestId request = requests_.Begin(
      kNoRequest, {.used_us = now_us_, .prompt_blocks = std::numeric_limits<int32_t>::max()}, {});
  requests_.conversation_of(request).blocks = static_cast<int32_t>(depth) + 1;
  const GroupId group = groups_.Begin(request, role, now_us_);
  requests_.conversation_of(request).groups[static_cast<size_t>(role)] = group;
  return group;
}

void ReusePolicy::OnWaiting(const StoreRequest& request, int64_t time_us) {
  // Nobody could say that it has come.
  if (request.hints.request == 0) return;
  Release(waiting_.Take(request.hints.request));
  ReleaseOverdue(time_us);
  std::vector<BlockId> blocks;
  for (const BlockId id :
       request.matched.first(std::min(request.matched.size(), waiting_.room()))) {
    if (blocks_[id].awaited == kMaxAwaited) continue;
    Reenter(id, [](Block& block) { ++block.awaited; });
    blocks.push_back(id);
  }
  if (!blocks.empty()) waiting_.Add(request.hints.request, time_us, std::move(blocks));
}

void ReusePolicy::Release(absl::Span<const BlockId> awaited) {
  // Those that were erased meanwhile are awaited no more.
  for (const BlockId id : awaited) {
    if (blocks_[id].awaited > 0) Reenter(id, [](Block& block) { --block.awaited; });
  }
}

void ReusePolicy::ReleaseOverdue(int64_t time_us) {
  while (waiting_.HasOverdue(time_us)) Release(waiting_.TakeFirst());
}

void ReusePolicy::Advance(int64_t time_us) {
  now_us_ = std::max(now_us_, time_us);
  groups_.Advance(now_us_);
  ReleaseOverdue(now_us_);
}

void ReusePolicy::Join(BlockId id, GroupId group) {
  if (blocks_[id].group == group) return;
  groups_.AddMember(group, blocks_[id].depth);
  const GroupId before = blocks_[id].group;
  Reenter(id, [&](Block& block) { block.group = group; });
  groups_.RemoveMember(before);
}

template <typename Change>
void ReusePolicy::Reenter(BlockId id, Change change) {
  Block& block = blocks_[id];
  for (const Membership membership : kMemberships) {
    if (block.sets.of(membership) != kNoSet) LeaveSet(id, block.sets.of(membership));
  }
  change(block);
  for (const Membership membership : kMemberships) {
    if (block.sets.of(membership) != kNoSet) EnterSet(id, block.sets.of(membership));
  }
}

RankedSets::Rank ReusePolicy::RankOf(const Block& block) const {
  return block.awaited > 0 ? kAwaited : groups_.at(block.group).rank();
}

void ReusePolicy::EnterSet(BlockId id, CandidateSet set) {
  const Block& block = blocks_[id];
  if (block.awaited == 0) groups_.Freshen(block.group);
  const CandidateSet ranked = RankedSetOf(set);
  const bool is_first = sets_.Insert(ranked, RankOf(block), block.depth, id);
  if (is_first && block.awaited == 0) groups_.EnterSet(block.group, ranked);
}

void ReusePolicy::LeaveSet(BlockId id, CandidateSet set) {
  const Block& block = blocks_[id];
  const CandidateSet ranked = RankedSetOf(set);
  const bool was_last = sets_.Erase(ranked, RankOf(block), block.depth, id);
  if (was_last && block.awaited == 0) groups_.LeaveSet(block.group, ranked);
}

void ReusePolicy::Place(BlockId id, Membership membership, CandidateSet set) {
  BlockSets& sets = At(id).sets;
  const CandidateSet before = sets.of(membership);
  if (before == set) return;
  if (before != kNoSet) LeaveSet(id, before);
  sets.Set(membership, set);
  if (set != kNoSet) EnterSet(id, set);
}

CandidateSet ReusePolicy::SetOf(BlockId id, Membership membership) const {
  return id < blocks_.size() ? blocks_[id].sets.of(membership) : kNoSet;
}

bool ReusePolicy::GoesBefore(BlockId a, BlockId b) const {
  const RankedSets::Rank rank_a = RankOf(blocks_[a]);
  const RankedSets::Rank rank_b = RankOf(blocks_[b]);
  if (rank_a != rank_b) return rank_a < rank_b;
  if (blocks_[a].depth != blocks_[b].depth) return blocks_[a].depth > blocks_[b].depth;
  return a > b;
}

double ReusePolicy::ReuseProbability(BlockId id) const {
  const Block& block = blocks_[id];
  return block.awaited > 0 ? 1 : groups_.ReuseProbability(block.group);
}

std::optional<uint64_t> ReusePolicy::PlaceOf(BlockId id, const BlockKey& key) {
  // Rank, then how far above the greatest depth: level and group leave so many bits. What left the
  // store was the deepest of its group.
  constexpr int kBits = 14;
  constexpr uint32_t kMost = (1u << kBits) - 1;
  const Ghost* const ghost = id == kNoBlock ? ghosts_.Find(key) : nullptr;
  if (id == kNoBlock && ghost == nullptr) return std::nullopt;
  const GroupId group = ghost != nullptr ? ghost->group : blocks_[id].group;
  const RankedSets::Rank rank = groups_.FreshRankOf(group);
  const uint32_t depth = ghost != nullptr ? kMost : std::min(blocks_[id].depth, kMost);
  return (uint64_t{rank.level} << RankedSets::kGroupBits | rank.group) << kBits | (kMost - depth);
}

bool ReusePolicy::UsedSince(BlockId id, uint64_t moment) const { return blocks_[id].used > moment; }

}  // namespace reprise::cachestore
