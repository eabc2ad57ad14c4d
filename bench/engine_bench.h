// Suite "engine": prefill and decode beside transformers and llama.cpp, the matrix products beside
// oneDNN alone, and decode beside the memory's bandwidth.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/extent.h"
#include "bench/report.h"

namespace reprise::bench {

struct EngineBenchOptions {
  Extent extent = Extent::kFull;
  std::vector<std::string> groups;  // of rows, as --groups names them; empty: all
  std::string models;               // folder to make the models in and keep; empty: a temporary one
  std::string peers;        // folder made by bench/peers/setup.sh; no peers if it is not there
  int32_t num_threads = 0;  // of ours and of each peer; 0: one per core
};

// One group of rows for each of BenchModels. kInvalidArgument: a group that there is not;
// kInternal: a peer's first greedy token of f32 weights is another than ours, so that it does not
// compute the same; else errors of the model, a peer or the machine. BLOCKS for minutes.
absl::StatusOr<std::vector<Result>> RunEngineBench(const EngineBenchOptions& options);

}  // namespace reprise::bench
