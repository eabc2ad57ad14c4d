#include "cachestore/policy/block_sets.h"

#include <gtest/gtest.h>

namespace reprise::cachestore {
namespace {

TEST(BlockSetsTest, MembershipsDoNotTouchEachOther) {
  for (const Membership changed : kMemberships) {
    for (const CandidateSet set : {CandidateSet{0}, kMaxCandidateSets - 1}) {
      BlockSets sets;
      for (const Membership membership : kMemberships) sets.Set(membership, 7);
      sets.Set(changed, set);
      for (const Membership membership : kMemberships) {
        EXPECT_EQ(sets.of(membership), membership == changed ? set : 7);
      }
      sets.Set(changed, kNoSet);
      for (const Membership membership : kMemberships) {
        EXPECT_EQ(sets.of(membership), membership == changed ? kNoSet : 7);
      }
    }
  }
}

TEST(BlockSetsTest, IsEmptyWhereNoMembershipHasASet) {
  BlockSets sets;
  EXPECT_TRUE(sets.empty());
  for (const Membership membership : kMemberships) {
    sets.Set(membership, 0);
    EXPECT_FALSE(sets.empty());
    sets.Set(membership, kNoSet);
    EXPECT_TRUE(sets.empty());
  }
}

TEST(BlockSetsTest, ANumberThatDoesNotFitEndsTheProcess) {
  BlockSets sets;
  EXPECT_DEATH(sets.Set(Membership::kRam, kMaxCandidateSets), "CHECK failed");
}

}  // namespace
}  // namespace reprise::cachestore
