// Suite "attention": the CPU backend's attention against the machine's arithmetic and its memory.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/extent.h"
#include "bench/report.h"

namespace reprise::bench {

struct AttentionBenchOptions {
  Extent extent = Extent::kFull;
  std::vector<std::string> groups;  // of rows to measure; empty: all
  int32_t num_threads = 0;          // 0: one per core
};

// Groups: prefill, decode, formats. What each row means: bench/README.md. kInvalidArgument: an
// unknown group. BLOCKS for a minute.
absl::StatusOr<std::vector<Result>> RunAttentionBench(const AttentionBenchOptions& options);

}  // namespace reprise::bench
