// Suite "rpc": the Cache service as its clients see it, over the loopback interface and in shared
// memory.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/extent.h"
#include "bench/report.h"

namespace reprise::bench {

struct RpcBenchOptions {
  Extent extent = Extent::kFull;
  std::string peers;                // the folder that bench/peers/setup.sh made
  std::vector<std::string> groups;  // of rows, as --groups names them; empty: all
};

// kInvalidArgument: a group that there is not; else the errors of the groups (rpc_rows.h).
absl::StatusOr<std::vector<Result>> RunRpcBench(const RpcBenchOptions& options);

}  // namespace reprise::bench
