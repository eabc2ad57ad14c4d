// Suite "store": keys, matching, RAM, redis, metadata, growth and contention, in process.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/extent.h"
#include "bench/report.h"

namespace reprise::bench {

struct StoreBenchOptions {
  Extent extent = Extent::kFull;
  std::vector<std::string> groups;  // of rows, as --groups names them; empty: all
};

// kInvalidArgument: a group that there is not; else the errors of the groups (store_rows.h).
absl::StatusOr<std::vector<Result>> RunStoreBench(const StoreBenchOptions& options);

}  // namespace reprise::bench
