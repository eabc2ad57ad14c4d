#include "cachestore/policy/reuse_policy.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <vector>

#include "cachestore/policy/lru_policy.h"
#include "tests/cachestore/policy/policy_tier.h"
#include "tests/fakes/test_seed.h"

namespace reprise::cachestore {
namespace {

// Serves what `turns` tells, in the order of time; returns the blocks that were found.
template <typename Policy>
size_t HitsOf(const std::multimap<double, Turn>& turns, size_t capacity) {
  PolicyTier tier = PolicyTier::Of<Policy>(capacity);
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
  EXPECT_EQ(next_of(PolicyTier::Of<ReusePolicy>(100)), 13u);
  EXPECT_EQ(next_of(PolicyTier::Of<LruPolicy>(100)), 2u) << "LRU takes what is older";
}

TEST(ReusePolicyTest, AnotherConversationLeavesNothingBehind) {
  PolicyTier tier = PolicyTier::Of<ReusePolicy>(100);
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
    PolicyTier tier = PolicyTier::Of<ReusePolicy>(200, attention_tokens);
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
  PolicyTier tier = PolicyTier::Of<ReusePolicy>(1500);
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
    PolicyTier tier = PolicyTier::Of<ReusePolicy>(60);
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
  PolicyTier first = PolicyTier::Of<ReusePolicy>(60);
  for (const auto& [at, turn] : turns) first.Serve(turn);
  // One conversation and one scan tell whether it is known which comes back.
  const auto next_of = [](PolicyTier tier) {
    tier.Serve({.chain = Chain(100, 4), .at = 1});
    tier.Serve({.chain = Chain(1000, 40), .at = 5});
    return tier.Next();
  };
  EXPECT_EQ(next_of(PolicyTier::Of<ReusePolicy>(60)), 103u) << "nothing was learned yet";
  PolicyTier second = PolicyTier::Of<ReusePolicy>(60);
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
  std::mt19937 random(TestSeed());
  PolicyTier tier = PolicyTier::Of<ReusePolicy>(50);
  double at = 0;
  for (int step = 0; step < 3000; ++step) {
    at += random() % 100 == 0 ? 5000 : 0.1 * (random() % 50);
    std::vector<uint64_t> chain;
    uint64_t name = 0;
    const size_t length = random() % 12 + 1;
    for (size_t i = 0; i < length; ++i) chain.push_back(name = name * 3 + 1 + random() % 3);
    Turn turn = {.chain = chain, .at = at, .has_partial_tail = random() % 2 == 0};
    turn.hints.request = random() % 8;
    turn.hints.session = random() % 4;
    turn.hints.turn = static_cast<int32_t>(random() % 5) - 1;
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
