// Sweeps as lines for programs.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "bench/hitrate/sweep.h"

namespace reprise::bench {

// All figures as CSV, a line for each trace, policy and capacity. The bounds are policies called
// "optimum" and "infinite".
std::string CellsCsv(const std::vector<Sweep>& sweeps);

// Puts `text` into `path`, in place of what is there. kInternal: names the file and the cause.
absl::Status WriteText(const std::string& text, const std::string& path);

}  // namespace reprise::bench
