#include "engine/sched/tenant_shares.h"

#include <string>

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

// `n` tenants that come, are served and go.
void Pass(size_t n, TenantShares* shares) {
  for (size_t i = 0; i < n; ++i) {
    const std::string tenant = absl::StrCat("passes ", i);
    shares->Join(tenant);
    shares->Charge(tenant, 10);
    shares->Leave(tenant);
  }
}

TEST(TenantSharesTest, WhoWaitsIsRememberedHoweverManyPass) {
  TenantShares shares;
  shares.Join("waits");
  shares.Join("waits");
  shares.Charge("waits", 500);
  shares.Leave("waits");  // one of its lines goes on waiting
  Pass(5 * TenantShares::kMaxTenants, &shares);
  EXPECT_EQ(shares.ServedTo("waits"), 500);
  EXPECT_LE(shares.num_remembered(), TenantShares::kMaxTenants);
}

TEST(TenantSharesTest, ManyThatWaitAreAllRemembered) {
  TenantShares shares;
  constexpr size_t kMany = 3 * TenantShares::kMaxTenants;
  for (size_t i = 0; i < kMany; ++i) {
    shares.Join(absl::StrCat(i));
    shares.Charge(absl::StrCat(i), 1);
  }
  EXPECT_EQ(shares.num_remembered(), kMany);
  for (size_t i = 0; i < kMany; ++i) {
    ASSERT_EQ(shares.ServedTo(absl::StrCat(i)), 1);
    shares.Leave(absl::StrCat(i));
  }
  Pass(2 * kMany, &shares);
  EXPECT_LE(shares.num_remembered(), 2 * kMany);
}

TEST(TenantSharesTest, WhoIsForgottenStartsAtTheClockAndPaysFromThere) {
  TenantShares shares;
  shares.Join("first");
  shares.Charge("first", 500);
  shares.Leave("first");
  EXPECT_EQ(shares.ServedTo("first"), 500);
  Pass(TenantShares::kMaxTenants, &shares);
  EXPECT_EQ(shares.ServedTo("first"), 0);
  shares.Charge("first", 7);  // what still runs
  EXPECT_EQ(shares.ServedTo("first"), 7);
}

}  // namespace
}  // namespace reprise::engine
