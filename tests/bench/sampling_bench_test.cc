#include "bench/sampling_bench.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace reprise::bench {
namespace {

TEST(SamplingBenchTest, QuickFormMeasuresEveryRow) {
  const auto rows = RunSamplingBench(Extent::kQuick);
  ASSERT_TRUE(rows.ok()) << rows.status();
  std::set<std::string> metrics;
  for (const Result& row : *rows) {
    EXPECT_TRUE(metrics.insert(row.metric).second) << row.metric;
    EXPECT_TRUE(std::isfinite(row.ours) && row.ours > 0) << row.metric << " " << row.ours;
    EXPECT_TRUE(row.limit.has_value()) << row.metric;
  }
  for (const char* metric : {"sampling.greedy", "sampling.temperature", "sampling.top_k_50_top_p",
                             "sampling.top_p", "sampling.min_p", "sampling.penalties",
                             "sampling.penalties_long_context", "sampling.logprobs_20"}) {
    EXPECT_TRUE(metrics.contains(metric)) << metric;
  }
}

}  // namespace
}  // namespace reprise::bench
