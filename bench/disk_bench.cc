#include "bench/disk_bench.h"

#include <filesystem>

#include "bench/disk_rows.h"
#include "bench/row_groups.h"

namespace reprise::bench {

absl::StatusOr<std::vector<Result>> RunDiskBench(const DiskBenchOptions& options) {
  const std::string directory = options.directory.empty()
                                    ? std::filesystem::temp_directory_path().string()
                                    : options.directory;
  return RunGroups(
      {{"throughput", [&] { return MeasureThroughput(options.extent, directory); }},
       {"amplification", [&] { return MeasureAmplification(options.extent, directory); }},
       {"recovery", [&] { return MeasureRecovery(options.extent, directory); }}},
      options.groups, options.extent);
}

}  // namespace reprise::bench
