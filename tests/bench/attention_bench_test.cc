#include "bench/attention_bench.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <string>

namespace reprise::bench {
namespace {

TEST(AttentionBenchTest, QuickFormMeasuresEveryRow) {
  const auto rows = RunAttentionBench({.extent = Extent::kQuick});
  ASSERT_TRUE(rows.ok()) << rows.status();
  std::set<std::string> metrics;
  for (const Result& row : *rows) {
    EXPECT_TRUE(metrics.insert(row.metric).second) << row.metric;
    EXPECT_TRUE(std::isfinite(row.ours) && row.ours > 0) << row.metric << " " << row.ours;
    EXPECT_TRUE(row.limit.has_value() && *row.limit > 0) << row.metric;
    EXPECT_FALSE(row.goal.has_value()) << row.metric;
  }
  for (const char* metric :
       {"attention.prefill_2048", "attention.prefill_chunk_512_at_1536", "attention.decode_1024",
        "attention.decode_1024_batch_8", "attention.decode_8192", "attention.decode_8192_fp32",
        "attention.decode_8192_int4", "attention.prefill_2048_fp8"}) {
    EXPECT_TRUE(metrics.contains(metric)) << metric;
  }
}

}  // namespace
}  // namespace reprise::bench
