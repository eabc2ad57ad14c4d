#include "bench/rpc_bench.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace reprise::bench {
namespace {

// The suite runs to its end and measures every row that its README names; what the figures are is
// not a test's business.
TEST(RpcBenchTest, QuickFormMeasuresEveryRow) {
  const auto rows = RunRpcBench({.extent = Extent::kQuick});
  ASSERT_TRUE(rows.ok()) << rows.status();
  std::set<std::string> metrics;
  for (const Result& row : *rows) {
    EXPECT_TRUE(metrics.insert(row.metric).second) << row.metric;
    EXPECT_TRUE(std::isfinite(row.ours) && row.ours > 0) << row.metric << " " << row.ours;
    EXPECT_FALSE(row.goal.has_value()) << row.metric;
    EXPECT_TRUE(row.context.contains("machine")) << row.metric;
  }
  for (const char* metric : {"rpc.match_p50_1_blocks",
                             "rpc.match_p50_64_blocks",
                             "rpc.match_p99_64_blocks",
                             "rpc.put_2mib",
                             "rpc.get_2mib",
                             "rpc.put_128kib",
                             "rpc.get_128kib",
                             "rpc.put_2mib_vs_redis",
                             "rpc.get_2mib_vs_redis",
                             "shm.get_128kib",
                             "shm.get_2mib",
                             "shm.get_16mib",
                             "shm.get_2mib_held",
                             "shm.put_2mib",
                             "rpc.mixed_get_p99",
                             "rpc.stalled_readers_bytes",
                             "rpc.put_2mib_vs_mooncake",
                             "rpc.get_2mib_vs_lmcache",
                             "serve.open_loop_50_ttft_p50",
                             "serve.open_loop_90_ttft_p99",
                             "serve.open_loop_same_load_ttft_p50"}) {
    EXPECT_TRUE(metrics.contains(metric)) << metric;
  }
}

}  // namespace
}  // namespace reprise::bench
