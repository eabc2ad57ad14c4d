#include "bench/store_bench.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace reprise::bench {
namespace {

// The suite runs to its end and measures every row that its README names; what the figures are is
// not a test's business.
TEST(StoreBenchTest, QuickFormMeasuresEveryRow) {
  const auto rows = RunStoreBench({.extent = Extent::kQuick});
  ASSERT_TRUE(rows.ok()) << rows.status();
  std::set<std::string> metrics;
  for (const Result& row : *rows) {
    EXPECT_TRUE(metrics.insert(row.metric).second) << row.metric;
    EXPECT_TRUE(std::isfinite(row.ours) && row.ours > 0) << row.metric << " " << row.ours;
    EXPECT_FALSE(row.goal.has_value()) << row.metric;
    EXPECT_TRUE(row.context.contains("machine")) << row.metric;
  }
  for (const char* metric : {"keys.chain_50k_tokens",
                             "match.verified_blocks_per_s_per_core",
                             "ram.put_2mib",
                             "ram.put_2mib_checksummed",
                             "ram.get_128kib",
                             "ram.get_2mib",
                             "ram.get_16mib",
                             "ram.put_2mib_vs_redis",
                             "ram.get_2mib_vs_redis",
                             "store.metadata_bytes_per_block",
                             "store.metadata_bytes_per_block_on_disk",
                             "growth.match",
                             "growth.put",
                             "growth.get",
                             "growth.evict",
                             "contention.lookups_2_threads",
                             "contention.lookups_8_threads",
                             "contention.lookups_64_threads"}) {
    EXPECT_TRUE(metrics.contains(metric)) << metric;
  }
}

TEST(StoreBenchTest, RowsAgainstRedisSayWhereItIsMissing) {
  const auto rows = RunStoreBench({.extent = Extent::kQuick, .groups = {"redis"}});
  ASSERT_TRUE(rows.ok()) << rows.status();
  ASSERT_EQ(rows->size(), 2u);
  for (const Result& row : *rows) {
    const bool missing = row.context.at("peer") == "none: redis-server is not installed";
    EXPECT_EQ(row.peer.has_value(), !missing) << row.metric;
  }
}

TEST(StoreBenchTest, GroupsAreChosenByName) {
  const auto rows = RunStoreBench({.extent = Extent::kQuick, .groups = {"keys"}});
  ASSERT_TRUE(rows.ok()) << rows.status();
  for (const Result& row : *rows) EXPECT_THAT(row.metric, testing::StartsWith("keys."));
  const auto unknown = RunStoreBench({.extent = Extent::kQuick, .groups = {"kyes"}});
  EXPECT_EQ(unknown.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(unknown.status().message()), testing::HasSubstr("'kyes'"));
}

}  // namespace
}  // namespace reprise::bench
