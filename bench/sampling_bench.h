// Suite "sampling": what a token costs after its logits are there, at a
// vocabulary of 151,936.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "bench/extent.h"
#include "bench/report.h"

namespace reprise::bench {

// One row for each way of sampling, in one thread. BLOCKS for seconds.
absl::StatusOr<std::vector<Result>> RunSamplingBench(Extent extent);

}  // namespace reprise::bench
