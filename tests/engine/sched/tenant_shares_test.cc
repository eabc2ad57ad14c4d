#include "engine/sched/tenant_shares.h"

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace reprise::engine {
namespace {

TEST(TenantSharesTest, WhatATenantGotCountsAgainstIt) {
  TenantShares shares;
  shares.Join("a");
  shares.Join("b");
  shares.Charge("a", 100);
  shares.Charge("b", 30);
  shares.Charge("a", -80);
  EXPECT_EQ(shares.ServedTo("a"), 20);
  EXPECT_EQ(shares.ServedTo("b"), 30);
}

TEST(TenantSharesTest, APauseIsNeitherSavedUpNorPaidFor) {
  TenantShares shares;
  shares.Join("busy");
  shares.Charge("busy", 1000);
  shares.Serve("busy");
  shares.Charge("busy", 10);
  // Who comes now starts where the one that was served last stood.
  shares.Join("late");
  EXPECT_EQ(shares.ServedTo("late"), 1000);
  EXPECT_EQ(shares.ServedTo("busy"), 1010);
  // A debt stays over a pause.
  shares.Join("busy");
  EXPECT_EQ(shares.ServedTo("busy"), 1010);
}

TEST(TenantSharesTest, TooManyTenantsStartTogether) {
  TenantShares shares;
  shares.Join("first");
  shares.Charge("first", 500);
  for (size_t i = 1; i < TenantShares::kMaxTenants; ++i) shares.Join(absl::StrCat(i));
  EXPECT_EQ(shares.ServedTo("first"), 500);
  shares.Join("one more");
  EXPECT_EQ(shares.ServedTo("first"), 0);
}

}  // namespace
}  // namespace reprise::engine
