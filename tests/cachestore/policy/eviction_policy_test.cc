// What the store relies on, for every policy.
#include "cachestore/policy/eviction_policy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <vector>

#include "cachestore/policy/lru_policy.h"
#include "cachestore/policy/reuse_policy.h"
#include "tests/cachestore/policy/policy_calls.h"
#include "tests/fakes/test_seed.h"

namespace reprise::cachestore {
namespace {

constexpr CandidateSet kSet = 0;

class EvictionPolicyConformanceTest
    : public ::testing::TestWithParam<std::unique_ptr<EvictionPolicy> (*)()> {};

TEST_P(EvictionPolicyConformanceTest, EverySetHoldsExactlyWhatWasPlacedIntoIt) {
  std::mt19937 random(TestSeed());
  const std::unique_ptr<EvictionPolicy> policy = GetParam()();
  constexpr CandidateSet kSetsOfMembership = 3;
  constexpr BlockId kChainBlocks = 5;
  struct Block {
    CandidateSet sets[kNumMemberships] = {kNoSet, kNoSet, kNoSet};
  };
  std::vector<Block> blocks(200);
  const auto place = [&](BlockId id, int membership, CandidateSet set) {
    blocks[id].sets[membership] = set;
    policy->Place(id, static_cast<Membership>(membership), set);
  };
  // Block i is the child of i - 1, but where a chain begins; so many of each are there.
  std::vector<BlockId> lengths(blocks.size() / kChainBlocks);
  for (int step = 0; step < 10000; ++step) {
    const BlockId root = random() % lengths.size() * kChainBlocks;
    BlockId& length = lengths[root / kChainBlocks];
    const BlockId end = root + length;
    if (length < kChainBlocks && random() % 3 == 0) {
      Insert(*policy, end, length == 0 ? kNoBlock : end - 1);
      ++length;
    } else if (length > 0 && random() % 8 == 0) {
      for (int m = 0; m < kNumMemberships; ++m) place(end - 1, m, kNoSet);
      policy->OnErase(end - 1, KeyOf(end - 1));
      --length;
    } else if (length > 0) {
      const BlockId id = root + random() % length;
      const auto m = static_cast<int>(random() % kNumMemberships);
      // Candidates of one membership are never in the sets of another.
      const CandidateSet set = random() % kSetsOfMembership + m * kSetsOfMembership;
      place(id, m, random() % 3 == 0 ? kNoSet : set);
      if (random() % 2 == 0) policy->OnUse(id, id > root && random() % 2 == 0 ? id - 1 : kNoBlock);
      std::vector<BlockId> chain;
      for (BlockId used = root; used <= id; ++used) chain.push_back(used);
      if (random() % 4 == 0) Use(*policy, chain, /*time_ms=*/1000 * step);
    }
    for (int m = 0; m < kNumMemberships; ++m) {
      ASSERT_EQ(policy->SetOf(root, static_cast<Membership>(m)), blocks[root].sets[m]);
    }
  }
  for (CandidateSet set = 0; set < kSetsOfMembership * kNumMemberships; ++set) {
    std::vector<BlockId> expected;
    for (BlockId id = 0; id < blocks.size(); ++id) {
      if (blocks[id].sets[set / kSetsOfMembership] == set) expected.push_back(id);
    }
    std::vector<BlockId> order = OrderOf(*policy, set);
    EXPECT_EQ(policy->size(set), expected.size());
    EXPECT_EQ(policy->Best(set), order.empty() ? kNoBlock : order[0]);
    for (size_t i = 1; i < order.size(); ++i) {
      EXPECT_TRUE(policy->GoesBefore(order[i - 1], order[i]));
      EXPECT_FALSE(policy->GoesBefore(order[i], order[i - 1]));
    }
    std::sort(order.begin(), order.end());
    EXPECT_EQ(order, expected);
  }
}

TEST_P(EvictionPolicyConformanceTest, ProposalsEndWhenTheCallerHasEnough) {
  const std::unique_ptr<EvictionPolicy> policy = GetParam()();
  for (BlockId id = 0; id < 6; ++id) {
    Insert(*policy, id, kNoBlock);
    policy->Place(id, Membership::kRam, kSet);
  }
  int proposed = 0;
  policy->ProposeVictims(kSet, [&](BlockId) { return ++proposed < 4; });
  EXPECT_EQ(proposed, 4);
  EXPECT_EQ(policy->size(kSet), 6u) << "a proposal removes nothing";
}

TEST_P(EvictionPolicyConformanceTest, BlocksThatCameTogetherGoFromTheEndOfTheirChain) {
  const std::unique_ptr<EvictionPolicy> policy = GetParam()();
  for (BlockId id = 0; id < 6; ++id) {
    Insert(*policy, id, id == 0 ? kNoBlock : id - 1);
    policy->Place(id, Membership::kRam, kSet);
  }
  EXPECT_EQ(OrderOf(*policy, kSet), (std::vector<BlockId>{5, 4, 3, 2, 1, 0}));
}

TEST_P(EvictionPolicyConformanceTest, BlocksUsedAfterAMomentAreKnown) {
  const std::unique_ptr<EvictionPolicy> policy = GetParam()();
  for (BlockId id = 0; id < 3; ++id) Insert(*policy, id, kNoBlock);
  const uint64_t first = policy->TakeMoment();
  Use(*policy, {1});
  const uint64_t second = policy->TakeMoment();
  policy->OnUse(2, kNoBlock);
  const auto used_since = [&](uint64_t moment) {
    std::vector<bool> used;
    for (BlockId id = 0; id < 3; ++id) used.push_back(policy->UsedSince(id, moment));
    return used;
  };
  EXPECT_EQ(used_since(first), (std::vector<bool>{false, true, true}));
  EXPECT_EQ(used_since(second), (std::vector<bool>{false, false, true}));
}

TEST_P(EvictionPolicyConformanceTest, ABlockThatComesAgainIsInNoSet) {
  const std::unique_ptr<EvictionPolicy> policy = GetParam()();
  Insert(*policy, 0, kNoBlock);
  policy->Place(0, Membership::kDisk, kSet);
  policy->Place(0, Membership::kDisk, kNoSet);
  policy->OnErase(0, KeyOf(0));
  Insert(*policy, 0, kNoBlock);
  EXPECT_EQ(policy->SetOf(0, Membership::kDisk), kNoSet);
  EXPECT_EQ(policy->Best(kSet), kNoBlock);
}

INSTANTIATE_TEST_SUITE_P(
    AllPolicies, EvictionPolicyConformanceTest,
    ::testing::Values(
        []() -> std::unique_ptr<EvictionPolicy> { return std::make_unique<LruPolicy>(); },
        []() -> std::unique_ptr<EvictionPolicy> { return std::make_unique<ReusePolicy>(); }));

}  // namespace
}  // namespace reprise::cachestore
