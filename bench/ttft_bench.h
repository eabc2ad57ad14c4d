// Suite "ttft": what the cache does to the time to the first token, and to the throughput of
// conversations, through the engine in process.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/extent.h"
#include "bench/report.h"

namespace reprise::bench {

struct TtftBenchOptions {
  Extent extent = Extent::kFull;
  std::vector<std::string> groups;  // of rows, as --groups names them; empty: all
  std::string models;               // folder to make the models in and keep; empty: a temporary one
  std::string directory;            // on the disk to use; empty: the system's temporary folder
  int32_t num_threads = 0;          // 0: one per core
};

// kInvalidArgument: a group that there is not; kInternal: the engine did not do what is measured (a
// prompt that should be cached was computed, a token differs); else errors of the model, the store
// or the machine. BLOCKS for minutes.
absl::StatusOr<std::vector<Result>> RunTtftBench(const TtftBenchOptions& options);

}  // namespace reprise::bench
