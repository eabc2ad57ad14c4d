#include "api/auth/rate_limiter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace reprise::api {
namespace {

using ::testing::HasSubstr;

const absl::Time kStart = absl::UnixEpoch() + absl::Hours(1);

TEST(RateLimiterTest, ATenantMakesSoManyCallsASecondAndIsToldWhenToComeAgain) {
  RateLimiter limiter;
  limiter.SetLimits({{"alice", {.calls_per_second = 10}}}, kStart);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(limiter.TakeCall("alice", kStart).ok()) << i;
  const absl::Status refused = limiter.TakeCall("alice", kStart);
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("alice has used up its calls-per-second"));
  EXPECT_EQ(RetryAfter(refused), absl::Milliseconds(100));
  const absl::Time later = kStart + RetryAfter(refused);
  EXPECT_TRUE(limiter.TakeCall("alice", later).ok());
  EXPECT_FALSE(limiter.TakeCall("alice", later).ok());
  // What a second gives is all that is ever saved up.
  const absl::Time next_day = kStart + absl::Hours(24);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(limiter.TakeCall("alice", next_day).ok()) << i;
  EXPECT_FALSE(limiter.TakeCall("alice", next_day).ok());
  // A clock that goes back takes nothing away and gives nothing.
  EXPECT_FALSE(limiter.TakeCall("alice", kStart).ok());
}

TEST(RateLimiterTest, OtherTenantsDoNotFeelIt) {
  RateLimiter limiter;
  limiter.SetLimits({{"alice", {.calls_per_second = 1}}, {"bob", {.calls_per_second = 1}}}, kStart);
  EXPECT_TRUE(limiter.TakeCall("alice", kStart).ok());
  EXPECT_FALSE(limiter.TakeCall("alice", kStart).ok());
  EXPECT_TRUE(limiter.TakeCall("bob", kStart).ok());
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(limiter.TakeCall("carol", kStart).ok());
}

TEST(RateLimiterTest, BytesThatWereMovedArePaidForByLaterCalls) {
  RateLimiter limiter;
  limiter.SetLimits({{"alice", {.bytes_per_second = 1000}}}, kStart);
  EXPECT_TRUE(limiter.TakeCall("alice", kStart).ok());
  limiter.ChargeBytes("alice", 1000, kStart);
  EXPECT_TRUE(limiter.TakeCall("alice", kStart).ok());
  limiter.ChargeBytes("alice", 2500, kStart);
  const absl::Status refused = limiter.TakeCall("alice", kStart);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("bytes-per-second"));
  EXPECT_EQ(RetryAfter(refused), absl::Milliseconds(2500));
  EXPECT_FALSE(limiter.TakeCall("alice", kStart + absl::Milliseconds(2499)).ok());
  EXPECT_TRUE(limiter.TakeCall("alice", kStart + absl::Milliseconds(2500)).ok());
  limiter.ChargeBytes("bob", 1 << 30, kStart);
  EXPECT_TRUE(limiter.TakeCall("bob", kStart).ok());
}

TEST(RateLimiterTest, NewLimitsKeepWhatWasTaken) {
  RateLimiter limiter;
  limiter.SetLimits({{"alice", {.calls_per_second = 4}}}, kStart);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(limiter.TakeCall("alice", kStart).ok());
  limiter.SetLimits({{"alice", {.calls_per_second = 100}}}, kStart);
  EXPECT_FALSE(limiter.TakeCall("alice", kStart).ok());
  EXPECT_TRUE(limiter.TakeCall("alice", kStart + absl::Milliseconds(10)).ok());
  limiter.SetLimits({}, kStart);
  for (int i = 0; i < 200; ++i) EXPECT_TRUE(limiter.TakeCall("alice", kStart).ok());
}

TEST(RateLimiterTest, OnlyARefusalSaysWhenToComeAgain) {
  EXPECT_EQ(RetryAfter(absl::OkStatus()), absl::ZeroDuration());
  EXPECT_EQ(RetryAfter(absl::ResourceExhaustedError("the queue is full")), absl::ZeroDuration());
  EXPECT_EQ(RetryAfter(absl::InternalError("retry-after-ms=5")), absl::ZeroDuration());
  EXPECT_EQ(RetryAfter(absl::ResourceExhaustedError("x; retry-after-ms=5")), absl::Milliseconds(5));
}

}  // namespace
}  // namespace reprise::api
