#include "bench/ttft_bench.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace reprise::bench {
namespace {

// The suite itself fails when a prompt is not the hit that it should be.
TEST(TtftBenchTest, QuickFormMeasuresEveryRow) {
  const auto rows = RunTtftBench({.extent = Extent::kQuick});
  ASSERT_TRUE(rows.ok()) << rows.status();
  std::set<std::string> metrics;
  for (const Result& row : *rows) {
    EXPECT_TRUE(metrics.insert(row.metric).second) << row.metric;
    EXPECT_TRUE(std::isfinite(row.ours) && row.ours > 0) << row.metric << " " << row.ours;
    EXPECT_TRUE(row.limit.has_value()) << row.metric;
    EXPECT_FALSE(row.goal.has_value()) << row.metric;
  }
  EXPECT_THAT(metrics, testing::UnorderedElementsAre("ttft.hit_over_bound", "ttft.disk_over_best",
                                                     "ttft.by_layer", "ttft.by_layer_200_mb_per_s",
                                                     "ttft.zero_reuse_p50", "ttft.zero_reuse_p99",
                                                     "serve.throughput"));
}

}  // namespace
}  // namespace reprise::bench
