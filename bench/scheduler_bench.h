// Suite "scheduler": what a step costs beside the model: planning it and taking over what it gave.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "bench/extent.h"
#include "bench/report.h"

namespace reprise::bench {

// scheduler.*: Plan and Commit of a decode step with 1, 64 and 1,024 running sequences, and how the
// share of one sequence grows with their number. Errors are the store's. BLOCKS for seconds.
absl::StatusOr<std::vector<Result>> RunSchedulerBench(Extent extent);

}  // namespace reprise::bench
