#include "api/auth/running_calls.h"

#include <gtest/gtest.h>

#include <thread>

#include "absl/time/clock.h"

namespace reprise::api {
namespace {

TEST(RunningCallsTest, TheLastOneThatEndsLetsTheWaiterGo) {
  RunningCalls calls;
  EXPECT_TRUE(calls.AwaitNone(absl::InfinitePast()));
  calls.Begin();
  calls.Begin();
  EXPECT_FALSE(calls.AwaitNone(absl::Now() + absl::Milliseconds(5)));
  std::thread others([&] {
    calls.End();
    calls.End();
  });
  EXPECT_TRUE(calls.AwaitNone(absl::Now() + absl::Minutes(1)));
  others.join();
}

TEST(RunningCallsTest, IsClosedWithTheFirstReason) {
  RunningCalls calls;
  EXPECT_EQ(calls.closed(), absl::OkStatus());
  calls.Close(absl::UnavailableError("first"));
  calls.Close(absl::UnavailableError("second"));
  EXPECT_EQ(calls.closed(), absl::UnavailableError("first"));
  // What was let in before.
  calls.Begin();
  EXPECT_FALSE(calls.AwaitNone(absl::InfinitePast()));
  calls.End();
}

}  // namespace
}  // namespace reprise::api
