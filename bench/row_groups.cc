#include "bench/row_groups.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "bench/machine.h"
#include "cachestore/base/status_macros.h"

namespace reprise::bench {
namespace {

absl::Status CheckChosen(const std::vector<RowGroup>& groups,
                         const std::vector<std::string>& chosen) {
  for (const std::string& name : chosen) {
    if (std::any_of(groups.begin(), groups.end(),
                    [&](const RowGroup& group) { return group.name == name; })) {
      continue;
    }
    return absl::InvalidArgumentError(
        absl::StrCat("no group of rows is called '", name, "'; there are ",
                     absl::StrJoin(groups, ", ", [](std::string* out, const RowGroup& group) {
                       absl::StrAppend(out, group.name);
                     })));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<Result>> RunGroups(const std::vector<RowGroup>& groups,
                                              const std::vector<std::string>& chosen,
                                              Extent extent) {
  RETURN_IF_ERROR(CheckChosen(groups, chosen));
  std::vector<Result> rows;
  for (const RowGroup& group : groups) {
    if (!chosen.empty() && std::count(chosen.begin(), chosen.end(), group.name) == 0) continue;
    ASSIGN_OR_RETURN(std::vector<Result> measured, group.measure());
    for (Result& row : measured) {
      if (extent == Extent::kQuick) row.goal.reset();
      row.context["machine"] = MachineInWords();
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

}  // namespace reprise::bench
