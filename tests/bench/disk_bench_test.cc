#include "bench/disk_bench.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <set>

#include "bench/temp_folder.h"

namespace reprise::bench {
namespace {

// The suite runs to its end, measures every row that its README names and leaves nothing behind;
// what the figures are is not a test's business.
TEST(DiskBenchTest, QuickFormMeasuresEveryRow) {
  const TempFolder folder = *TempFolder::Make("reprise-disk-bench-test");
  const auto rows = RunDiskBench({.extent = Extent::kQuick, .directory = folder.path()});
  ASSERT_TRUE(rows.ok()) << rows.status();
  std::set<std::string> metrics;
  for (const Result& row : *rows) {
    EXPECT_TRUE(metrics.insert(row.metric).second) << row.metric;
    EXPECT_TRUE(std::isfinite(row.ours) && row.ours > 0) << row.metric << " " << row.ours;
    EXPECT_FALSE(row.goal.has_value()) << row.metric;
    EXPECT_TRUE(row.context.contains("file_system")) << row.metric;
  }
  for (const char* metric :
       {"disk.get_2mib", "disk.get_2mib_vs_blobdb", "disk.get_2mib_vs_sst", "disk.put_2mib_durable",
        "disk.put_2mib_durable_vs_blobdb", "disk.put_2mib_durable_vs_sst", "disk.get_128kib",
        "disk.write_amplification", "disk.recovery_blocks_per_s",
        "disk.recovery_blocks_per_s_cached"}) {
    EXPECT_TRUE(metrics.contains(metric)) << metric;
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(DiskBenchTest, AFolderThatIsNotThereIsNamed) {
  const absl::Status missing =
      RunDiskBench({.extent = Extent::kQuick, .directory = "/no/such/folder"}).status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.message()), testing::HasSubstr("/no/such/folder: "));
  const absl::Status file =
      RunDiskBench({.extent = Extent::kQuick, .directory = "/dev/null"}).status();
  EXPECT_THAT(std::string(file.message()), testing::HasSubstr("/dev/null is no folder"));
}

}  // namespace
}  // namespace reprise::bench
