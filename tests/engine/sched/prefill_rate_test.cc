#include "engine/sched/prefill_rate.h"

#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace reprise::engine {
namespace {

using absl::Milliseconds;

double PerTokenMs(const PrefillRate& rate) {
  return rate.PerToken().has_value() ? absl::ToDoubleMilliseconds(*rate.PerToken()) : -1;
}

TEST(PrefillRateTest, IsUnknownBeforeAStepHasPrefilled) {
  PrefillRate rate;
  EXPECT_FALSE(rate.PerToken().has_value());
  rate.AddStep(0, 64, Milliseconds(500));
  rate.AddStep(512, 0, absl::ZeroDuration());
  EXPECT_FALSE(rate.PerToken().has_value());
  EXPECT_EQ(rate.tokens_per_second(), 0);
}

TEST(PrefillRateTest, ADecodeBesidePrefillIsARowLikeOthers) {
  PrefillRate rate;
  rate.AddStep(400, 100, Milliseconds(1000));
  EXPECT_NEAR(PerTokenMs(rate), 2, 1e-6);
  EXPECT_EQ(rate.tokens_per_second(), 500);
  // Mostly decodes: they say nothing of prefill.
  for (int i = 0; i < 50; ++i) rate.AddStep(250, 262, Milliseconds(9000));
  EXPECT_NEAR(PerTokenMs(rate), 2, 1e-6);
}

TEST(PrefillRateTest, StepsMuchSmallerThanOthersTellNothing) {
  PrefillRate rate;
  rate.AddStep(10, 0, Milliseconds(200));
  EXPECT_NEAR(PerTokenMs(rate), 20, 1e-6);
  rate.AddStep(512, 0, Milliseconds(1024));
  EXPECT_NEAR(PerTokenMs(rate), 2, 1e-6);
  for (int i = 0; i < 50; ++i) rate.AddStep(255, 0, Milliseconds(2550));
  EXPECT_NEAR(PerTokenMs(rate), 2, 1e-6);
  rate.AddStep(256, 0, Milliseconds(256));
  rate.AddStep(512, 0, Milliseconds(512));
  EXPECT_NEAR(PerTokenMs(rate), 1, 1e-6);
}

TEST(PrefillRateTest, OneSlowStepChangesLittleAndALastingChangeCounts) {
  PrefillRate rate;
  for (int i = 0; i < 40; ++i) rate.AddStep(512, 3, Milliseconds(515));
  rate.AddStep(512, 3, absl::Seconds(100));
  EXPECT_NEAR(PerTokenMs(rate), 1, 1e-6);
  for (int i = 0; i < 8; ++i) rate.AddStep(512, 3, Milliseconds(515 * 4));
  EXPECT_NEAR(PerTokenMs(rate), 4, 1e-6);
}

}  // namespace
}  // namespace reprise::engine
