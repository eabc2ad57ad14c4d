// Clients that end without a word while they hold leases.
#include <gtest/gtest.h>
#include <signal.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "api/limits.h"
#include "tests/api/session_fixture.h"
#include "tests/process/child_process.h"

namespace reprise::api {
namespace {

class SessionKillTest : public SessionTest {
 protected:
  // As a server's.
  static SessionLimits ServerLimits() {
    SessionLimits limits = Limits();
    limits.usual_ttl = kLeaseTtl;
    limits.max_ttl = kMaxLeaseTtl;
    return limits;
  }
  SessionKillTest() : SessionTest(ServerLimits()) {}

  // A client process (lease_holder.cc) that holds ten leases of five blocks; 0: for as long as is
  // usual without Renew.
  std::unique_ptr<ChildProcess> StartClient(double ttl_seconds) {
    auto client = std::make_unique<ChildProcess>(
        std::vector<std::string>{server_.address(), absl::StrCat(ns_), absl::StrCat(ttl_seconds)},
        "", REPRISE_LEASE_HOLDER);
    EXPECT_EQ(client->AwaitLine("holding "), "10");
    EXPECT_EQ(Stat("leases"), 10);
    EXPECT_EQ(pinned(), 5);
    return client;
  }
};

TEST_F(SessionKillTest, LeasesOfAKilledClientAreFreeWithinSeconds) {
  PutBlocks(5);
  for (int round = 0; round < 3; ++round) {
    const auto client = StartClient(30);
    client->Signal(SIGKILL);
    const absl::Time killed = absl::Now();
    EXPECT_TRUE(BecomesFree(absl::Seconds(5)));
    EXPECT_EQ(Stat("leases"), 0);
    // It is forgotten when all that it held is free.
    EXPECT_TRUE(Becomes("sessions", 0, absl::Seconds(5) - (absl::Now() - killed)));
  }
  EXPECT_EQ(Stat("orphaned_leases"), 30);
}

// As one whose machine is gone: the connection stays, and nothing comes.
TEST_F(SessionKillTest, LeasesOfASilentClientAreFreeWithinSeconds) {
  PutBlocks(5);
  const auto client = StartClient(0);
  client->Signal(SIGSTOP);
  EXPECT_TRUE(BecomesFree(absl::Seconds(5)));
  EXPECT_EQ(Stat("expired_leases"), 10);
  EXPECT_EQ(Stat("sessions"), 1);
}

}  // namespace
}  // namespace reprise::api
