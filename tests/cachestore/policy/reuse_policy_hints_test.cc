// What callers tell of their requests, and what the learned order makes of it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cachestore/policy/reuse_policy.h"
#include "tests/cachestore/policy/policy_tier.h"

namespace reprise::cachestore {
namespace {

RequestHints Told(uint64_t session, int32_t turn) {
  return {.use = RequestHints::Use::kRequest, .session = session, .turn = turn};
}

TEST(ReusePolicyHintsTest, AConversationThatBeganElsewhereIsAtTheTurnThatIsTold) {
  // Whoever comes with a third turn comes again after 20 seconds; with a first one, nobody does.
  // No earlier turn of any is ever seen, and they are alike in all else.
  const auto next_of = [](bool tells_turns) {
    PolicyTier tier = PolicyTier::Of<ReusePolicy>(1000);
    const auto serve = [&](uint64_t first, double at, int32_t turn, size_t blocks) {
      const RequestHints hints = Told(/*session=*/0, tells_turns ? turn : -1);
      tier.Serve({.chain = Chain(first, blocks), .at = at, .hints = hints});
    };
    double at = 0;
    for (uint64_t i = 1; i <= 200; ++i, at += 40) {
      serve(1000 * i, at, 3, 4);
      serve(1000 * i + 500, at + 1, 1, 4);
      serve(1000 * i, at + 20, 4, 5);
    }
    at += 100'000;
    serve(1'000'500, at, 1, 4);
    serve(1'000'000, at + 1, 3, 4);
    while (tier.Next() < 1'000'000) tier.Evict();
    return tier.Next();
  };
  EXPECT_EQ(next_of(true), 1'000'503u);
  EXPECT_EQ(next_of(false), 1'000'003u) << "alike, and the younger is further from 20 s";
}

// What goes first after another conversation, one of session 5 at its second turn, and a request
// with other blocks from the root on.
uint64_t NextAfterRewriting(const RequestHints& hints, uint32_t namespace_id = 0) {
  PolicyTier tier = PolicyTier::Of<ReusePolicy>(100);
  tier.Serve({.chain = {1, 2}, .at = 0});
  tier.Serve({.chain = {11, 12}, .at = 10, .hints = Told(5, 1)});
  tier.Serve({.chain = {11, 12, 13}, .at = 20, .hints = Told(5, 2)});
  tier.Serve({.chain = {21, 22, 23, 24}, .at = 30, .hints = hints, .namespace_id = namespace_id});
  return tier.Next();
}

TEST(ReusePolicyHintsTest, AHistoryThatWasRewrittenLeavesTheOldOneBehind) {
  EXPECT_EQ(NextAfterRewriting(Told(5, 3)), 13u);
}

TEST(ReusePolicyHintsTest, WithoutSessionOrTheNextTurnItIsAnotherConversation) {
  EXPECT_EQ(NextAfterRewriting(Told(0, 3)), 2u);
  EXPECT_EQ(NextAfterRewriting(Told(6, 3)), 2u);
  EXPECT_EQ(NextAfterRewriting(Told(5, -1)), 2u);
  for (const int32_t turn : {1, 2, 4, 1000}) {
    EXPECT_EQ(NextAfterRewriting(Told(5, turn)), 2u) << turn << ": such as a sub-agent's";
  }
  EXPECT_EQ(NextAfterRewriting(Told(5, 3), /*namespace_id=*/1), 2u) << "another model's";
}

TEST(ReusePolicyHintsTest, AHistoryThatIsRewrittenEachTurnLeavesEachBehind) {
  PolicyTier tier = PolicyTier::Of<ReusePolicy>(100);
  tier.Serve({.chain = {1, 2}, .at = 0});
  tier.Serve({.chain = {11, 12}, .at = 10, .hints = Told(5, 1)});
  tier.Serve({.chain = {21, 22, 23}, .at = 20, .hints = Told(5, 2)});
  tier.Serve({.chain = {31, 32, 33, 34}, .at = 30, .hints = Told(5, 3)});
  std::vector<uint64_t> gone;
  for (int i = 0; i < 5; ++i) {
    gone.push_back(tier.Next());
    tier.Evict();
  }
  std::sort(gone.begin(), gone.end());
  EXPECT_EQ(gone, (std::vector<uint64_t>{11, 12, 21, 22, 23}));
}

TEST(ReusePolicyHintsTest, ASessionThatIsClosedGoesFirst) {
  const auto next_of = [](bool closed) {
    PolicyTier tier = PolicyTier::Of<ReusePolicy>(100);
    tier.Serve({.chain = {1, 2}, .at = 0});
    tier.Serve({.chain = {11, 12}, .at = 10, .end = {.hints = {.session_closed = closed}}});
    return tier.Next();
  };
  EXPECT_EQ(next_of(true), 12u);
  EXPECT_EQ(next_of(false), 2u);
}

TEST(ReusePolicyHintsTest, WhatAWaitingRequestWillUseGoesLastUntilItHasCome) {
  PolicyTier tier = PolicyTier::Of<ReusePolicy>(100);
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

TEST(ReusePolicyHintsTest, ARequestThatNeverComesIsAwaitedForAMinute) {
  PolicyTier tier = PolicyTier::Of<ReusePolicy>(100);
  tier.Serve({.chain = {1, 2}, .at = 0});
  tier.Serve({.chain = {11, 12}, .at = 10});
  tier.Announce(
      {.chain = {1, 2, 3}, .at = 20, .hints = {.use = RequestHints::Use::kAhead, .request = 7}});
  tier.PassTime(79);
  EXPECT_EQ(tier.Next(), 12u);
  tier.PassTime(81);
  EXPECT_EQ(tier.Next(), 2u);
}

TEST(ReusePolicyHintsTest, WhatTheCallerExpectsCounts) {
  const auto next_of = [](const RequestHints& hints) {
    PolicyTier tier = PolicyTier::Of<ReusePolicy>(100);
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

TEST(ReusePolicyHintsTest, AStepOfPriorityIsWorthAsMuchAsTwiceTheUses) {
  // Two prompts, the second of which is expected eight times as soon.
  const auto next_of = [](int32_t first, int32_t second) {
    PolicyTier tier = PolicyTier::Of<ReusePolicy>(100);
    const auto hints = [](int32_t priority, absl::Duration next_use) {
      return RequestHints{.use = RequestHints::Use::kRequest,
                          .priority = priority,
                          .reuse_probability = 1.0,
                          .next_use = next_use};
    };
    tier.Serve({.chain = {1, 2}, .at = 0, .hints = hints(first, absl::Seconds(64))});
    tier.Serve({.chain = {11, 12}, .at = 0.1, .hints = hints(second, absl::Seconds(8))});
    return tier.Next();
  };
  EXPECT_EQ(next_of(0, 0), 2u);
  EXPECT_EQ(next_of(2, 0), 2u) << "four times is less than eight";
  EXPECT_EQ(next_of(4, 0), 12u);
  EXPECT_EQ(next_of(0, -4), 12u);
  // Beyond 16 it makes no difference.
  EXPECT_EQ(next_of(16, 12), 12u);
  EXPECT_EQ(next_of(100, 14), 2u);
  EXPECT_EQ(next_of(-14, -100), 2u);
}

}  // namespace
}  // namespace reprise::cachestore
