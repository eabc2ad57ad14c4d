#include "cachestore/policy/lru_policy.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "tests/cachestore/policy/policy_calls.h"
#include "tests/fakes/test_seed.h"

namespace reprise::cachestore {
namespace {

constexpr CandidateSet kSet = 0;

std::vector<BlockId> Order(const EvictionPolicy& policy) { return OrderOf(policy, kSet); }

// Blocks that came one after the other, all candidates.
void InsertAll(EvictionPolicy& policy, const std::vector<BlockId>& ids) {
  for (const BlockId id : ids) {
    Insert(policy, id, kNoBlock);
    policy.Place(id, Membership::kRam, kSet);
  }
}

TEST(LruPolicyTest, TheBlockUsedLongestAgoGoesFirst) {
  LruPolicy policy;
  InsertAll(policy, {3, 1, 2});
  EXPECT_EQ(Order(policy), (std::vector<BlockId>{3, 1, 2}));
  policy.OnUse(3, kNoBlock);
  EXPECT_EQ(Order(policy), (std::vector<BlockId>{1, 2, 3}));
  EXPECT_EQ(policy.Best(kSet), 1u);
}

TEST(LruPolicyTest, AHitChainIsGivenUpFromItsEnd) {
  LruPolicy policy;
  InsertAll(policy, {1, 2, 3, 9});
  Insert(policy, 7, kNoBlock);
  const BlockId chain[] = {1, 7, 2, 3};  // 7 is in no set
  Use(policy, chain);
  EXPECT_EQ(Order(policy), (std::vector<BlockId>{9, 3, 2, 1}));
}

TEST(LruPolicyTest, ABlockWhoseParentIsIdleGoesBeforeItAndAfterWhatIsOlder) {
  LruPolicy policy;
  InsertAll(policy, {1, 2, 3});
  Insert(policy, 9, 2);
  policy.Place(9, Membership::kRam, kSet);
  Insert(policy, 8, 9);
  policy.Place(8, Membership::kRam, kSet);
  EXPECT_EQ(Order(policy), (std::vector<BlockId>{1, 8, 9, 2, 3}));
}

TEST(LruPolicyTest, ABlockThatIsACandidateAgainKeepsItsPlace) {
  LruPolicy policy;
  InsertAll(policy, {1, 2, 3});
  policy.Place(1, Membership::kRam, kNoSet);
  EXPECT_EQ(policy.Best(kSet), 2u);
  policy.Place(1, Membership::kRam, kSet);
  EXPECT_EQ(policy.Best(kSet), 1u);
}

TEST(LruPolicyTest, AParentUsedWithItsChildrenIsNeverProposedBeforeThem) {
  std::mt19937 random(TestSeed());
  LruPolicy policy;
  // A tree: the parent of block i is some block before it.
  constexpr BlockId kBlocks = 100;
  std::vector<BlockId> parent(kBlocks, kNoBlock);
  for (BlockId id = 1; id < kBlocks; ++id) parent[id] = random() % id;
  for (BlockId id = 0; id < kBlocks; ++id) {
    Insert(policy, id, parent[id]);
    policy.Place(id, Membership::kRam, kSet);
  }
  for (int step = 0; step < 500; ++step) {
    std::vector<BlockId> chain;
    for (BlockId id = random() % kBlocks; id != kNoBlock; id = parent[id]) {
      chain.insert(chain.begin(), id);
    }
    Use(policy, chain);
    const std::vector<BlockId> order = Order(policy);
    std::vector<size_t> rank(kBlocks);
    for (size_t i = 0; i < order.size(); ++i) rank[order[i]] = i;
    for (BlockId id = 1; id < kBlocks; ++id) ASSERT_LT(rank[id], rank[parent[id]]);
  }
}

}  // namespace
}  // namespace reprise::cachestore
