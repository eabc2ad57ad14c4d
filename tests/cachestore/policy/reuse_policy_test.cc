#include "cachestore/policy/reuse_policy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "cachestore/policy/lru_policy.h"
#include "tests/fakes/test_seed.h"

namespace reprise::cachestore {
namespace {

constexpr CandidateSet kLeaves = 0;
constexpr int64_t kBlockTokens = 512;

struct Turn {
  std::vector<uint64_t> chain;  // names of blocks, root first
  double at = 0;                // seconds
  int64_t output_tokens = 100;
  bool has_partial_tail = false;
  RequestHints hints = {.use = RequestHints::Use::kRequest};
  RequestEnd end = {};
};

// A tier of so many blocks that gives up leaves in the order of a policy, in virtual time.
class Tier {
 public:
  template <typename Policy>
  static Tier Of(size_t capacity, int64_t attention_tokens = 0) {
    Tier tier(capacity);
    if constexpr (std::is_same_v<Policy, ReusePolicy>) {
      tier.policy_ = std::make_unique<ReusePolicy>(attention_tokens);
    } else {
      tier.policy_ = std::make_unique<Policy>();
    }
    return tier;
  }

  // Returns how many of the leading blocks were there.
  size_t Serve(const Turn& turn) {
    const std::vector<BlockId> matched = Look(turn);
    if (!matched.empty()) policy_->Place(matched.back(), Membership::kRam, kNoSet);
    BlockId parent = matched.empty() ? kNoBlock : matched.back();
    for (size_t i = matched.size(); i < turn.chain.size(); ++i) {
      const BlockId id = next_id_++;
      ids_[turn.chain[i]] = id;
      nodes_[id] = {turn.chain[i], parent, 0};
      if (parent != kNoBlock) ++nodes_[parent].children;
      policy_->OnInsert(id, parent, KeyOf(turn.chain[i]));
      policy_->OnUse(id, parent);
      parent = id;
    }
    RequestEnd end = turn.end;
    end.output_tokens = turn.output_tokens;
    policy_->OnRequestEnd(
        {.block_tokens = kBlockTokens, .keys = keys_, .last = parent, .end = end});
    if (nodes_[parent].children == 0) policy_->Place(parent, Membership::kRam, kLeaves);
    while (nodes_.size() > capacity_) Evict();
    return matched.size();
  }

  // Tells of a request that waits.
  void Announce(const Turn& turn) { Look(turn); }

  // The name of the block that goes first.
  uint64_t Next() const { return nodes_.at(policy_->Best(kLeaves)).name; }
  void Evict() {
    const BlockId id = policy_->Best(kLeaves);
    ASSERT_NE(id, kNoBlock);
    policy_->Place(id, Membership::kRam, kNoSet);
    policy_->OnErase(id, KeyOf(nodes_[id].name));
    const BlockId parent = nodes_[id].parent;
    ids_.erase(nodes_[id].name);
    nodes_.erase(id);
    if (parent != kNoBlock && --nodes_[parent].children == 0) {
      policy_->Place(parent, Membership::kRam, kLeaves);
    }
  }
  bool Has(uint64_t name) const { return ids_.contains(name); }
  // A request, of no whole block, tells the policy what time it is.
  void PassTime(double at) { Look({.at = at}); }
  ReusePolicy& reuse() { return static_cast<ReusePolicy&>(*policy_); }

 private:
  struct Node {
    uint64_t name = 0;
    BlockId parent = kNoBlock;
    int children = 0;
  };

  explicit Tier(size_t capacity) : capacity_(capacity) {}
  static BlockKey KeyOf(uint64_t name) {
    const uint64_t lo = (name + 1) * 0x9e3779b97f4a7c15;
    return {.hi = (lo ^ lo >> 29) * 0xbf58476d1ce4e5b9, .lo = lo};
  }
  std::vector<BlockId> Look(const Turn& turn) {
    keys_.clear();
    for (const uint64_t name : turn.chain) keys_.push_back(KeyOf(name));
    std::vector<BlockId> matched;
    for (const uint64_t name : turn.chain) {
      if (!ids_.contains(name)) break;
      matched.push_back(ids_[name]);
    }
    const auto tokens = static_cast<int64_t>(turn.chain.size()) * kBlockTokens;
    policy_->OnRequest({.time_ms = std::llround(turn.at * 1000),
                        .block_tokens = kBlockTokens,
                        .prompt_tokens = tokens - (turn.has_partial_tail ? 100 : 0),
                        .keys = keys_,
                        .matched = matched,
                        .hints = turn.hints});
    return matched;
  }

  size_t capacity_;
  std::unique_ptr<EvictionPolicy> policy_;
  std::map<uint64_t, BlockId> ids_;
  std::map<BlockId, Node> nodes_;
  std::vector<BlockKey> keys_;
  BlockId next_id_ = 0;
};

std::vector<uint64_t> Chain(uint64_t first, size_t count) {
  std::vector<uint64_t> chain(count);
  for (size_t i = 0; i < count; ++i) chain[i] = first + i;
  return chain;
}

// Serves what `turns` tells, in the order of time; returns the blocks that were found.
template <typename Policy>
size_t HitsOf(const std::multimap<double, Turn>& turns, size_t capacity) {
  Tier tier = Tier::Of<Policy>(capacity);
  size_t hits = 0;
  for (const auto& [at, turn] : turns) hits += tier.Serve(turn);
  return hits;
}

TEST(ReusePolicyTest, ATailThatTheConversationLeftBehindGoesFirst) {
  const auto next_of = [](auto tier) {
    tier.Serve({.chain = {1, 2}, .at = 0});
    tier.Serve({.chain = {11, 12, 13}, .at = 10, .has_partial_tail = true});
    // 13 was not full and is another block now.
    tier.Serve({.chain = {11, 12, 14, 15}, .at = 20, .has_partial_tail = true});
    return tier.Next();
  };
  EXPECT_EQ(next_of(Tier::Of<ReusePolicy>(100)), 13u);
  EXPECT_EQ(next_of(Tier::Of<LruPolicy>(100)), 2u) << "LRU takes what is older";
}

TEST(ReusePolicyTest, AnotherConversationLeavesNothingBehind) {
  Tier tier = Tier::Of<ReusePolicy>(100);
  tier.Serve({.chain = {1, 2}, .at = 0});
  tier.Serve({.chain = Chain(10, 20), .at = 10});
  // It shares the first two blocks, and is no later turn of the first.
  tier.Serve({.chain = {10, 11, 90}, .at = 20});
  EXPECT_EQ(tier.Next(), 2u);
}

// Documents read once, each larger than a conversation, which comes back after 20 seconds.
std::multimap<double, Turn> ConversationsAmongScans() {
  std::multimap<double, Turn> turns;
  for (uint64_t i = 0; i < 400; ++i) {
    const double at = 10.0 * static_cast<double>(i);
    turns.emplace(at, Turn{.chain = Chain(1000000 + 100 * i, 40), .at = at});
    turns.emplace(at + 1, Turn{.chain = Chain(100 * i, 4), .at = at + 1});
    turns.emplace(at + 21, Turn{.chain = Chain(100 * i, 6), .at = at + 21});
  }
  return turns;
}

TEST(ReusePolicyTest, WhatIsReadOnceDoesNotPushOutWhatComesBack) {
  const std::multimap<double, Turn> turns = ConversationsAmongScans();
  const size_t lru = HitsOf<LruPolicy>(turns, 60);
  const size_t reuse = HitsOf<ReusePolicy>(turns, 60);
  EXPECT_LT(lru, 100u) << "two scans come between";
  EXPECT_GT(reuse, 400u * 4 * 8 / 10);
}

TEST(ReusePolicyTest, WhatManyConversationsBeginWithStays) {
  // Each begins with one of four instructions of 20 blocks, and is over with its first answer.
  std::multimap<double, Turn> turns;
  for (uint64_t i = 0; i < 600; ++i) {
    const double at = 10.0 * static_cast<double>(i);
    std::vector<uint64_t> chain = Chain(100 * (i % 4), 20);
    for (const uint64_t block : Chain(10000 + 100 * i, 15)) chain.push_back(block);
    turns.emplace(at, Turn{.chain = chain, .at = at});
  }
  const size_t most = 596 * 20;
  const size_t lru = HitsOf<LruPolicy>(turns, 110);
  const size_t reuse = HitsOf<ReusePolicy>(turns, 110);
  EXPECT_LT(lru, most / 2) << "four conversations come between";
  EXPECT_GT(reuse, most * 9 / 10);
}

TEST(ReusePolicyTest, AConversationIsKeptForItsOwnPace) {
  // Half of the conversations have a turn every 30 seconds, six of them; the others one only.
  std::multimap<double, Turn> turns;
  for (uint64_t i = 0; i < 500; ++i) {
    const double start = 4.0 * static_cast<double>(i);
    const int count = i % 2 == 0 ? 6 : 1;
    for (int turn = 0; turn < count; ++turn) {
      const double at = start + 30.0 * turn;
      turns.emplace(at, Turn{.chain = Chain(100 * i, i % 2 == 0 ? 5 + turn : 12), .at = at});
    }
  }
  const size_t lru = HitsOf<LruPolicy>(turns, 55);
  const size_t reuse = HitsOf<ReusePolicy>(turns, 55);
  EXPECT_GT(reuse, lru * 5 / 4) << lru;
}

TEST(ReusePolicyTest, WhatWasGivenUpTooEarlyIsLearnedFromItsGhosts) {
  // Comes back after a minute, when LRU has given it up, every time: nothing of it is ever seen by
  // who only looks at what is there.
  std::multimap<double, Turn> turns;
  for (uint64_t i = 0; i < 400; ++i) {
    const double at = 10.0 * static_cast<double>(i);
    turns.emplace(at, Turn{.chain = Chain(100 * i, 4), .at = at});
    turns.emplace(at + 60, Turn{.chain = Chain(100 * i, 4), .at = at + 60});
    turns.emplace(at + 2, Turn{.chain = Chain(1000000 + 100 * i, 20), .at = at + 2});
  }
  EXPECT_EQ(HitsOf<LruPolicy>(turns, 40), 0u);
  EXPECT_GT(HitsOf<ReusePolicy>(turns, 40), 400u * 4 / 2);
}

TEST(ReusePolicyTest, ASessionThatIsClosedGoesFirst) {
  const auto next_of = [](bool closed) {
    Tier tier = Tier::Of<ReusePolicy>(100);
    tier.Serve({.chain = {1, 2}, .at = 0});
    tier.Serve({.chain = {11, 12}, .at = 10, .end = {.hints = {.session_closed = closed}}});
    return tier.Next();
  };
  EXPECT_EQ(next_of(true), 12u);
  EXPECT_EQ(next_of(false), 2u);
}

TEST(ReusePolicyTest, WhatAWaitingRequestWillUseGoesLastUntilItHasCome) {
  Tier tier = Tier::Of<ReusePolicy>(100);
  tier.Serve({.chain = {1, 2}, .at = 0});
  tier.Serve({.chain = {11, 12}, .at = 10});
  ASSERT_EQ(tier.Next(), 2u);
  const Turn waiting = {
      .chain = {1, 2, 3}, .at = 20, .hints = {.use = RequestHints::Use::kAhead, .request = 7}};
  tier.Announce(waiting);
  EXPECT_EQ(tier.Next(), 12u);
  Turn served = waiting;
  served.hints.use = RequestHints::Use::kRequest;
  served.at = 21;
  EXPECT_EQ(tier.Serve(served), 2u);
  tier.Serve({.chain = {21, 22}, .at = 22});
  EXPECT_EQ(tier.Next(), 12u);
}

TEST(ReusePolicyTest, ARequestThatNeverComesIsAwaitedForAMinute) {
  Tier tier = Tier::Of<ReusePolicy>(100);
  tier.Serve({.chain = {1, 2}, .at = 0});
  tier.Serve({.chain = {11, 12}, .at = 10});
  tier.Announce(
      {.chain = {1, 2, 3}, .at = 20, .hints = {.use = RequestHints::Use::kAhead, .request = 7}});
  tier.PassTime(79);
  EXPECT_EQ(tier.Next(), 12u);
  tier.PassTime(81);
  EXPECT_EQ(tier.Next(), 2u);
}

TEST(ReusePolicyTest, WhatTheCallerExpectsCounts) {
  const auto next_of = [](const RequestHints& hints) {
    Tier tier = Tier::Of<ReusePolicy>(100);
    Turn turn = {.chain = {1, 2}, .at = 0, .hints = hints};
    turn.hints.use = RequestHints::Use::kRequest;
    tier.Serve(turn);
    tier.Serve({.chain = {11, 12}, .at = 10});
    tier.Serve({.chain = {21, 22}, .at = 40});
    return tier.Next();
  };
  EXPECT_EQ(next_of({}), 2u);
  EXPECT_EQ(next_of({.priority = 8}), 12u);
  EXPECT_EQ(next_of({.reuse_probability = 1.0, .next_use = absl::Seconds(60)}), 12u);
  EXPECT_EQ(next_of({.priority = 8, .ttl = absl::Seconds(20)}), 2u);
}

TEST(ReusePolicyTest, ALongPromptThatIsTouchedRanksByAllOfIt) {
  constexpr BlockId kLong = 50;
  ReusePolicy policy(/*attention_tokens=*/kBlockTokens);
  // A long prompt and then a short one, all in a candidate set.
  std::vector<BlockId> chains[2];
  std::vector<BlockKey> keys[2];
  for (BlockId id = 0; id < kLong + 1; ++id) {
    std::vector<BlockId>& chain = chains[id == kLong];
    keys[id == kLong].push_back({.hi = ~uint64_t{0}, .lo = id});
    policy.OnInsert(id, chain.empty() ? kNoBlock : chain.back(), keys[id == kLong].back());
    policy.Place(id, Membership::kRam, kLeaves);
    chain.push_back(id);
  }
  for (int i = 0; i < 2; ++i) {
    policy.OnRequest({.block_tokens = kBlockTokens,
                      .prompt_tokens = kBlockTokens * static_cast<int64_t>(keys[i].size()),
                      .keys = keys[i],
                      .matched = chains[i],
                      .hints = {.use = RequestHints::Use::kRequest}});
  }
  EXPECT_EQ(policy.Best(kLeaves), kLong) << "the short one, although it was used last";
}

TEST(ReusePolicyTest, WhatCostsMoreToComputeAnewStaysLonger) {
  const auto next_of = [](int64_t attention_tokens) {
    Tier tier = Tier::Of<ReusePolicy>(200, attention_tokens);
    // As old as each other, but for a little.
    tier.Serve({.chain = Chain(100, 100), .at = 0});
    tier.Serve({.chain = Chain(1, 2), .at = 0.1});
    return tier.Next();
  };
  EXPECT_EQ(next_of(0), 199u);
  EXPECT_EQ(next_of(10'000), 2u) << "a token at 51,200 costs six of those at the beginning";
}

// Documents, which nobody asks for again, among conversations that come back after 10 seconds.
std::multimap<double, Turn> DocumentsAmongConversations(const RequestHints& of_conversations) {
  std::multimap<double, Turn> turns;
  for (uint64_t i = 0; i < 4000; ++i) {
    const double at = 0.5 * static_cast<double>(i);
    turns.emplace(at, Turn{.chain = Chain(1000000 + 100 * i, 20), .at = at});
    for (const double turn_at : {at + 0.1, at + 10.1}) {
      turns.emplace(turn_at,
                    Turn{.chain = Chain(100 * i, 10), .at = turn_at, .hints = of_conversations});
    }
  }
  return turns;
}

// The caller is wrong about when they are over, and no model learns that.
const RequestHints kOverTooSoon = {.use = RequestHints::Use::kRequest, .ttl = absl::Seconds(5)};

TEST(ReusePolicyTest, WhereItDoesWorseThanLruItDoesAsLru) {
  const std::multimap<double, Turn> turns = DocumentsAmongConversations(kOverTooSoon);
  const size_t lru = HitsOf<LruPolicy>(turns, 1500);
  EXPECT_EQ(lru, 4000u * 10);
  EXPECT_GT(HitsOf<ReusePolicy>(turns, 1500), lru * 9 / 10);
}

TEST(ReusePolicyTest, WhereItDoesBetterThanLruItStaysSo) {
  const std::multimap<double, Turn> turns =
      DocumentsAmongConversations({.use = RequestHints::Use::kRequest});
  EXPECT_LT(HitsOf<LruPolicy>(turns, 500), 4000u);
  EXPECT_GT(HitsOf<ReusePolicy>(turns, 500), 4000u * 10 * 9 / 10);
}

TEST(ReusePolicyTest, PrioritiesHoldWhileItDoesAsLru) {
  Tier tier = Tier::Of<ReusePolicy>(1500);
  for (const auto& [at, turn] : DocumentsAmongConversations(kOverTooSoon)) {
    // One conversation has it, long after LRU was found to do better.
    Turn served = turn;
    if (turn.chain.front() == 200000) served.hints.priority = 4;
    tier.Serve(served);
  }
  EXPECT_TRUE(tier.Has(200000));
  EXPECT_FALSE(tier.Has(200100));
}

TEST(ReusePolicyTest, TheSameRequestsGiveTheSameOrder) {
  const std::multimap<double, Turn> turns = ConversationsAmongScans();
  const auto order = [&turns] {
    Tier tier = Tier::Of<ReusePolicy>(60);
    std::vector<uint64_t> names;
    for (const auto& [at, turn] : turns) {
      tier.Serve(turn);
      names.push_back(tier.Next());
    }
    return names;
  };
  EXPECT_EQ(order(), order());
}

TEST(ReusePolicyTest, WhatWasLearnedOutlivesTheProcess) {
  const std::multimap<double, Turn> turns = ConversationsAmongScans();
  Tier first = Tier::Of<ReusePolicy>(60);
  for (const auto& [at, turn] : turns) first.Serve(turn);
  // One conversation and one scan tell whether it is known which comes back.
  const auto next_of = [](Tier tier) {
    tier.Serve({.chain = Chain(100, 4), .at = 1});
    tier.Serve({.chain = Chain(1000, 40), .at = 5});
    return tier.Next();
  };
  EXPECT_EQ(next_of(Tier::Of<ReusePolicy>(60)), 103u) << "nothing was learned yet";
  Tier second = Tier::Of<ReusePolicy>(60);
  ASSERT_TRUE(second.reuse().RestoreModel(first.reuse().SerializeModel()).ok());
  EXPECT_EQ(next_of(std::move(second)), 1039u);
}

TEST(ReusePolicyTest, RecoveredBlocksGoInTheOrderTheyAreToldOf) {
  ReusePolicy policy;
  // Two chains, the older one first; of a chain the deepest block comes first.
  for (const BlockId id : {BlockId{0}, BlockId{1}, BlockId{2}}) {
    policy.OnInsert(id, id == 0 ? kNoBlock : id - 1, {.hi = 0, .lo = id});
  }
  for (const BlockId id : {BlockId{10}, BlockId{11}}) {
    policy.OnInsert(id, id == 10 ? kNoBlock : id - 1, {.hi = 0, .lo = id});
  }
  const std::vector<BlockId> order = {2, 1, 0, 11, 10};
  for (const BlockId id : order) {
    policy.OnRecover(id);
    policy.Place(id, Membership::kDisk, kLeaves);
  }
  std::vector<BlockId> proposed;
  policy.ProposeVictims(kLeaves, [&](BlockId id) {
    proposed.push_back(id);
    return true;
  });
  EXPECT_EQ(proposed, order);
}

// A caller that names its blocks itself may name several alike, or give one two parents.
TEST(ReusePolicyTest, KeysThatRepeatDoNoHarm) {
  std::mt19937 random(TestSeed());
  ReusePolicy policy;
  const RequestHints hints = {.use = RequestHints::Use::kRequest};
  for (int step = 0; step < 3000; ++step) {
    // Some blocks are there, which is how much the policy compares orders for.
    const BlockId id = static_cast<BlockId>(step % 100);
    if (step >= 100) policy.OnErase(id, {.hi = ~uint64_t{0}, .lo = 1000 + id});
    policy.OnInsert(id, kNoBlock, {.hi = ~uint64_t{0}, .lo = 1000 + id});
    std::vector<BlockKey> keys(random() % 6 + 1);
    for (BlockKey& key : keys) key = {.hi = 0, .lo = random() % 8};
    policy.OnRequest({.time_ms = 100 * step,
                      .block_tokens = kBlockTokens,
                      .prompt_tokens = static_cast<int64_t>(keys.size()) * kBlockTokens,
                      .keys = keys,
                      .hints = hints});
  }
}

// Random use of every call, with chains that branch: the books agree at any moment, and nothing of
// what is gone is remembered in the end.
TEST(ReusePolicyTest, RandomUseKeepsItsBooks) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  Tier tier = Tier::Of<ReusePolicy>(50);
  double at = 0;
  for (int step = 0; step < 3000; ++step) {
    at += random() % 100 == 0 ? 5000 : 0.1 * (random() % 50);
    std::vector<uint64_t> chain;
    uint64_t name = 0;
    const size_t length = random() % 12 + 1;
    for (size_t i = 0; i < length; ++i) chain.push_back(name = name * 3 + 1 + random() % 3);
    Turn turn = {.chain = chain, .at = at, .has_partial_tail = random() % 2 == 0};
    turn.hints.request = random() % 8;
    turn.hints.priority = static_cast<int32_t>(random() % 3) - 1;
    if (random() % 5 == 0) turn.hints.ttl = absl::Seconds(random() % 100);
    turn.end.hints.session_closed = random() % 10 == 0;
    switch (random() % 6) {
      case 0:
        turn.hints.use = RequestHints::Use::kAhead;
        tier.Announce(turn);
        break;
      case 1:
        turn.hints.use = RequestHints::Use::kPart;
        tier.Announce(turn);
        break;
      default:
        tier.Serve(turn);
    }
  }
}

}  // namespace
}  // namespace reprise::cachestore
