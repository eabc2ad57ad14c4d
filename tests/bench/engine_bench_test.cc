#include "bench/engine_bench.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace reprise::bench {
namespace {

TEST(EngineBenchTest, QuickFormMeasuresEveryRow) {
  const auto rows = RunEngineBench({.extent = Extent::kQuick});
  ASSERT_TRUE(rows.ok()) << rows.status();
  std::set<std::string> metrics;
  for (const Result& row : *rows) {
    EXPECT_TRUE(metrics.insert(row.metric).second) << row.metric;
    EXPECT_TRUE(std::isfinite(row.ours) && row.ours > 0) << row.metric << " " << row.ours;
    EXPECT_TRUE(row.limit.has_value()) << row.metric;
    EXPECT_FALSE(row.goal.has_value()) << row.metric;
    EXPECT_FALSE(row.peer.has_value()) << row.metric;
  }
  for (const char* model : {"qwen2_f32", "qwen2_bf16", "gpt2_f32", "gpt2_bf16"}) {
    for (const char* metric :
         {"prefill.tokens_per_s", "prefill.gemm_fraction", "decode.gemm_batch_1",
          "decode.gemm_batch_8", "decode.tokens_per_s_batch_1", "decode.tokens_per_s_batch_8",
          "decode.bandwidth_fraction"}) {
      EXPECT_TRUE(metrics.contains(absl::StrCat(metric, "_", model))) << metric << " " << model;
    }
  }
}

TEST(EngineBenchTest, RowsWithoutPeersSaySo) {
  const auto rows = RunEngineBench(
      {.extent = Extent::kQuick, .groups = {"gpt2_f32"}, .peers = "/no/such/folder"});
  ASSERT_TRUE(rows.ok()) << rows.status();
  int64_t told = 0;
  for (const Result& row : *rows) {
    const auto peer = row.context.find("peer");
    if (peer == row.context.end()) continue;
    EXPECT_THAT(peer->second, testing::StartsWith("none: "));
    ++told;
  }
  EXPECT_EQ(told, 3);
}

}  // namespace
}  // namespace reprise::bench
