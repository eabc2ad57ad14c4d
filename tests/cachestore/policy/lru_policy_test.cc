#include "cachestore/policy/lru_policy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <vector>

namespace reprise::cachestore {
namespace {

std::vector<BlockId> Order(const EvictionPolicy& policy) {
  std::vector<BlockId> order;
  policy.ProposeVictims([&](BlockId id) {
    order.push_back(id);
    return true;
  });
  return order;
}

TEST(LruPolicyTest, TheOldestIsProposedFirst) {
  LruPolicy policy;
  for (const BlockId id : {3u, 1u, 2u}) policy.OnInsert(id, kNoBlock);
  EXPECT_EQ(Order(policy), (std::vector<BlockId>{3, 1, 2}));
  const BlockId hit[] = {3};
  policy.OnHit(hit);
  EXPECT_EQ(Order(policy), (std::vector<BlockId>{1, 2, 3}));
}

TEST(LruPolicyTest, AHitChainIsGivenUpFromItsEnd) {
  LruPolicy policy;
  for (const BlockId id : {1u, 2u, 3u, 9u}) policy.OnInsert(id, kNoBlock);
  const BlockId chain[] = {1, 7, 2, 3};  // 7 is not held
  policy.OnHit(chain);
  EXPECT_EQ(Order(policy), (std::vector<BlockId>{9, 3, 2, 1}));
}

TEST(LruPolicyTest, ProposalsEndWhenTheCallerHasEnough) {
  LruPolicy policy;
  for (BlockId id = 0; id < 10; ++id) policy.OnInsert(id, kNoBlock);
  int proposed = 0;
  policy.ProposeVictims([&](BlockId) { return ++proposed < 4; });
  EXPECT_EQ(proposed, 4);
  EXPECT_EQ(policy.size(), 10u) << "a proposal removes nothing";
}

TEST(LruPolicyTest, InsertingTwiceOrErasingTheUnknownEndsTheProcess) {
  LruPolicy policy;
  policy.OnInsert(1, kNoBlock);
  EXPECT_DEATH(policy.OnInsert(1, kNoBlock), "CHECK failed");
  EXPECT_DEATH(policy.OnErase(2), "CHECK failed");
}

// What the store relies on, for every policy.
class EvictionPolicyConformanceTest
    : public ::testing::TestWithParam<std::unique_ptr<EvictionPolicy> (*)()> {};

TEST_P(EvictionPolicyConformanceTest, HoldsExactlyWhatWasInsertedAndNotErased) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const std::unique_ptr<EvictionPolicy> policy = GetParam()();
  std::vector<bool> held(200);
  for (int step = 0; step < 5000; ++step) {
    const BlockId id = random() % held.size();
    if (held[id]) {
      policy->OnErase(id);
    } else {
      policy->OnInsert(id, random() % 2 == 0 ? kNoBlock : BlockId(random() % held.size()));
    }
    held[id] = !held[id];
    ASSERT_EQ(policy->Contains(id), held[id]);
    std::vector<BlockId> chain;
    for (int i = 0; i < 5; ++i) chain.push_back(id / 5 * 5 + i);
    policy->OnHit(chain);
  }
  std::vector<BlockId> order = Order(*policy);
  std::sort(order.begin(), order.end());
  std::vector<BlockId> expected;
  for (BlockId id = 0; id < held.size(); ++id) {
    if (held[id]) expected.push_back(id);
  }
  EXPECT_EQ(order, expected);
  EXPECT_EQ(policy->size(), expected.size());
}

TEST_P(EvictionPolicyConformanceTest, AParentIsNeverProposedBeforeItsChildren) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const std::unique_ptr<EvictionPolicy> policy = GetParam()();
  // A tree: the parent of block i is some block before it.
  constexpr BlockId kBlocks = 100;
  std::vector<BlockId> parent(kBlocks, kNoBlock);
  for (BlockId id = 1; id < kBlocks; ++id) parent[id] = random() % id;
  for (BlockId id = 0; id < kBlocks; ++id) policy->OnInsert(id, parent[id]);
  for (int step = 0; step < 500; ++step) {
    std::vector<BlockId> chain;
    for (BlockId id = random() % kBlocks; id != kNoBlock; id = parent[id]) {
      chain.insert(chain.begin(), id);
    }
    policy->OnHit(chain);
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
