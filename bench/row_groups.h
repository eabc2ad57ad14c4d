// RowGroup: a part of a suite that can be measured by itself.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/extent.h"
#include "bench/report.h"

namespace reprise::bench {

struct RowGroup {
  std::string name;
  std::function<absl::StatusOr<std::vector<Result>>()> measure;
};

// Measures those of `groups` that `chosen` names (empty: all), in their order, and returns all
// rows, with this machine in their context. Rows of a quick extent have no goals.
// kInvalidArgument: a name that is not a group's; else a group's error.
absl::StatusOr<std::vector<Result>> RunGroups(const std::vector<RowGroup>& groups,
                                              const std::vector<std::string>& chosen,
                                              Extent extent);

}  // namespace reprise::bench
