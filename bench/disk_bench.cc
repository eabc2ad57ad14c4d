#include "bench/disk_bench.h"

#include "bench/disk_rows.h"
#include "bench/row_groups.h"
#include "bench/temp_folder.h"
#include "cachestore/base/status_macros.h"

namespace reprise::bench {

absl::StatusOr<std::vector<Result>> RunDiskBench(const DiskBenchOptions& options) {
  ASSIGN_OR_RETURN(const std::string directory, FolderOrTemp(options.directory));
  return RunGroups(
      {{"throughput", [&] { return MeasureThroughput(options.extent, directory); }},
       {"amplification", [&] { return MeasureAmplification(options.extent, directory); }},
       {"recovery", [&] { return MeasureRecovery(options.extent, directory); }}},
      options.groups, options.extent);
}

}  // namespace reprise::bench
