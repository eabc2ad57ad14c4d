#include "engine/sched/prefix_claims.h"

#include <vector>

#include "absl/time/time.h"
#include "engine/sched/sequence.h"
#include "gtest/gtest.h"

namespace reprise::engine {
namespace {

using cachestore::BlockKey;

TEST(PrefixClaimsTest, TheFirstClaimantKeepsABlockUntilItGivesItUp) {
  GenerateRequest request;
  request.prompt = {1};
  const Sequence a(1, {}, request, absl::UnixEpoch());
  const Sequence b(2, {}, request, absl::UnixEpoch());
  const std::vector<BlockKey> keys = {{1, 1}, {1, 2}, {1, 3}, {1, 4}};
  const absl::Span<const BlockKey> all = keys;
  PrefixClaims claims;
  EXPECT_EQ(claims.ClaimantOf(keys[0]), nullptr);
  EXPECT_EQ(claims.CountClaimed(all), 0);
  claims.Claim(a, all.first(2));
  claims.Claim(b, all);
  EXPECT_EQ(claims.ClaimantOf(keys[1]), &a);
  EXPECT_EQ(claims.ClaimantOf(keys[2]), &b);
  EXPECT_EQ(claims.CountClaimed(all), 2);
  EXPECT_EQ(claims.CountClaimed(all.subspan(2)), 2);
  EXPECT_EQ(claims.CountClaimed({}), 0);
  claims.Release(b, all);  // not a's
  EXPECT_EQ(claims.ClaimantOf(keys[1]), &a);
  EXPECT_EQ(claims.ClaimantOf(keys[2]), nullptr);
  claims.Release(a, all.first(1));
  EXPECT_EQ(claims.CountClaimed(all), 0);
  EXPECT_EQ(claims.ClaimantOf(keys[1]), &a);
}

}  // namespace
}  // namespace reprise::engine
