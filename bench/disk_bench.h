// Suite "disk": the disk tier against the disk itself and against RocksDB, and recovery.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/extent.h"
#include "bench/report.h"

namespace reprise::bench {

struct DiskBenchOptions {
  Extent extent = Extent::kFull;
  std::vector<std::string> groups;  // of rows, as --groups names them; empty: all
  std::string directory;            // on the disk to measure; empty: the system's temporary folder
};

// kInvalidArgument: a group that there is not; kNotFound: no such directory; else the errors of the
// groups (disk_rows.h).
absl::StatusOr<std::vector<Result>> RunDiskBench(const DiskBenchOptions& options);

}  // namespace reprise::bench
