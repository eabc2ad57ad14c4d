#include "cachestore/policy/lru_policy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <vector>

namespace reprise::cachestore {
namespace {

constexpr CandidateSet kSet = 0;

std::vector<BlockId> Order(const EvictionPolicy& policy, CandidateSet set = kSet) {
  std::vector<BlockId> order;
  policy.ProposeVictims(set, [&](BlockId id) {
    order.push_back(id);
    return true;
  });
  return order;
}

// Blocks used one after the other, all candidates.
void Insert(EvictionPolicy& policy, const std::vector<BlockId>& ids) {
  for (const BlockId id : ids) {
    policy.OnUse(id, kNoBlock);
    policy.Place(id, Membership::kRam, kSet);
  }
}

// A request that finds all of its blocks.
void Use(EvictionPolicy& policy, absl::Span<const BlockId> chain) {
  std::vector<BlockKey> keys;
  for (const BlockId id : chain) keys.push_back({.hi = 0, .lo = id});
  const RequestHints hints = {.use = RequestHints::Use::kRequest};
  policy.OnRequest({.block_tokens = 16,
                    .prompt_tokens = static_cast<int64_t>(16 * chain.size()),
                    .keys = keys,
                    .matched = chain,
                    .hints = hints});
}

TEST(LruPolicyTest, TheBlockUsedLongestAgoGoesFirst) {
  LruPolicy policy;
  Insert(policy, {3, 1, 2});
  EXPECT_EQ(Order(policy), (std::vector<BlockId>{3, 1, 2}));
  policy.OnUse(3, kNoBlock);
  EXPECT_EQ(Order(policy), (std::vector<BlockId>{1, 2, 3}));
  EXPECT_EQ(policy.Best(kSet), 1u);
}

TEST(LruPolicyTest, AHitChainIsGivenUpFromItsEnd) {
  LruPolicy policy;
  Insert(policy, {1, 2, 3, 9});
  const BlockId chain[] = {1, 7, 2, 3};  // 7 is in no set
  Use(policy, chain);
  EXPECT_EQ(Order(policy), (std::vector<BlockId>{9, 3, 2, 1}));
}

TEST(LruPolicyTest, ABlockWhoseParentIsIdleGoesBeforeItAndAfterWhatIsOlder) {
  LruPolicy policy;
  Insert(policy, {1, 2, 3});
  policy.OnUse(9, 2);
  policy.Place(9, Membership::kRam, kSet);
  policy.OnUse(8, 9);
  policy.Place(8, Membership::kRam, kSet);
  EXPECT_EQ(Order(policy), (std::vector<BlockId>{1, 8, 9, 2, 3}));
}

TEST(LruPolicyTest, ABlockThatIsACandidateAgainKeepsItsPlace) {
  LruPolicy policy;
  Insert(policy, {1, 2, 3});
  policy.Place(1, Membership::kRam, kNoSet);
  EXPECT_EQ(policy.Best(kSet), 2u);
  policy.Place(1, Membership::kRam, kSet);
  EXPECT_EQ(policy.Best(kSet), 1u);
}

TEST(LruPolicyTest, BlocksUsedAfterAMomentAreKnown) {
  LruPolicy policy;
  Insert(policy, {1, 2});
  const uint64_t moment = policy.now();
  EXPECT_FALSE(policy.UsedSince(2, moment));
  policy.OnUse(1, kNoBlock);
  EXPECT_TRUE(policy.UsedSince(1, moment));
}

// What the store relies on, for every policy.
class EvictionPolicyConformanceTest
    : public ::testing::TestWithParam<std::unique_ptr<EvictionPolicy> (*)()> {};

TEST_P(EvictionPolicyConformanceTest, EverySetHoldsExactlyWhatWasPlacedIntoIt) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const std::unique_ptr<EvictionPolicy> policy = GetParam()();
  constexpr CandidateSet kSets = 6;
  struct Block {
    CandidateSet ram = kNoSet;
    CandidateSet disk = kNoSet;
  };
  std::vector<Block> blocks(200);
  for (int step = 0; step < 5000; ++step) {
    const BlockId id = random() % blocks.size();
    const bool in_ram = random() % 2 == 0;
    CandidateSet& set = in_ram ? blocks[id].ram : blocks[id].disk;
    // RAM and disk candidates are in different sets.
    set = random() % 3 == 0 ? kNoSet : static_cast<CandidateSet>(random() % 3 + (in_ram ? 0 : 3));
    policy->Place(id, in_ram ? Membership::kRam : Membership::kDisk, set);
    ASSERT_EQ(policy->SetOf(id, Membership::kRam), blocks[id].ram);
    ASSERT_EQ(policy->SetOf(id, Membership::kDisk), blocks[id].disk);
    if (random() % 2 == 0) policy->OnUse(id, random() % 2 == 0 ? kNoBlock : (id + 1) % 200);
    const BlockId first = id / 5 * 5;
    const BlockId chain[] = {first, first + 1, first + 2};
    if (random() % 4 == 0) Use(*policy, chain);
  }
  for (CandidateSet set = 0; set < kSets; ++set) {
    std::vector<BlockId> expected;
    for (BlockId id = 0; id < blocks.size(); ++id) {
      if (blocks[id].ram == set || blocks[id].disk == set) expected.push_back(id);
    }
    std::vector<BlockId> order = Order(*policy, set);
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
  Insert(*policy, {0, 1, 2, 3, 4, 5});
  int proposed = 0;
  policy->ProposeVictims(kSet, [&](BlockId) { return ++proposed < 4; });
  EXPECT_EQ(proposed, 4);
  EXPECT_EQ(policy->size(kSet), 6u) << "a proposal removes nothing";
}

TEST_P(EvictionPolicyConformanceTest, AParentUsedWithItsChildrenIsNeverProposedBeforeThem) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const std::unique_ptr<EvictionPolicy> policy = GetParam()();
  // A tree: the parent of block i is some block before it.
  constexpr BlockId kBlocks = 100;
  std::vector<BlockId> parent(kBlocks, kNoBlock);
  for (BlockId id = 1; id < kBlocks; ++id) parent[id] = random() % id;
  for (BlockId id = 0; id < kBlocks; ++id) {
    policy->OnUse(id, parent[id]);
    policy->Place(id, Membership::kRam, kSet);
  }
  for (int step = 0; step < 500; ++step) {
    std::vector<BlockId> chain;
    for (BlockId id = random() % kBlocks; id != kNoBlock; id = parent[id]) {
      chain.insert(chain.begin(), id);
    }
    Use(*policy, chain);
    const std::vector<BlockId> order = Order(*policy);
    std::vector<size_t> rank(kBlocks);
    for (size_t i = 0; i < order.size(); ++i) rank[order[i]] = i;
    for (BlockId id = 1; id < kBlocks; ++id) ASSERT_LT(rank[id], rank[parent[id]]);
  }
}

INSTANTIATE_TEST_SUITE_P(AllPolicies, EvictionPolicyConformanceTest,
                         ::testing::Values([]() -> std::unique_ptr<EvictionPolicy> {
                           return std::make_unique<LruPolicy>();
                         }));

}  // namespace
}  // namespace reprise::cachestore
