#include "bench/scheduler_bench.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <string>

namespace reprise::bench {
namespace {

TEST(SchedulerBenchTest, QuickFormMeasuresEveryRow) {
  const auto rows = RunSchedulerBench(Extent::kQuick);
  ASSERT_TRUE(rows.ok()) << rows.status();
  std::set<std::string> metrics;
  for (const Result& row : *rows) {
    EXPECT_TRUE(metrics.insert(row.metric).second) << row.metric;
    EXPECT_TRUE(std::isfinite(row.ours) && row.ours > 0) << row.metric << " " << row.ours;
    EXPECT_FALSE(row.goal.has_value()) << row.metric;
    EXPECT_TRUE(row.context.contains("machine")) << row.metric;
  }
  EXPECT_EQ(metrics, (std::set<std::string>{
                         "scheduler.step_overhead_us.1", "scheduler.step_overhead_us.64",
                         "scheduler.step_overhead_us.1024", "scheduler.overhead_growth"}));
}

}  // namespace
}  // namespace reprise::bench
