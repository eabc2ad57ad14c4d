// Report: the results of one benchmark suite, as JSON lines and as a table.
//
// One JSON object a line: metric, unit, ours, limit, peer, ours_over_limit, ours_over_peer, goal,
// pass, context. `limit` is what the machine allows for the same work in the same run, `peer` what
// another system does; both are null when the metric has none. `pass` is null when there is no
// goal.
#pragma once

#include <map>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace reprise::bench {

// A goal compares one of the figures with a bound.
struct Goal {
  enum class Of { kOurs, kOursOverLimit, kOursOverPeer };
  enum class Bound { kAtLeast, kAtMost };
  Of of = Of::kOurs;
  Bound bound = Bound::kAtLeast;
  double value = 0;
};

struct Result {
  std::string metric;  // dotted, e.g. "decode.cache_speedup"
  std::string unit;    // of ours, limit and peer
  double ours = 0;
  std::optional<double> limit;
  std::optional<double> peer;
  std::optional<Goal> goal;
  std::map<std::string, std::string> context;  // what was measured, and on what

  // nullopt without a limit or peer.
  std::optional<double> OursOverLimit() const;
  std::optional<double> OursOverPeer() const;
  // nullopt without a goal; false also when the goal's figure is missing.
  std::optional<bool> Pass() const;
};

// One line of JSON, no newline.
std::string ToJson(const Result& result);

// "ours >= 11", "ours/limit <= 1.05".
std::string ToText(const Goal& goal);

// Prints the results as one table.
void PrintTable(const std::vector<Result>& results, std::ostream& out);

// Appends the results to `path`, one line each. kInternal names the file and the cause.
absl::Status AppendJsonLines(const std::vector<Result>& results, const std::string& path);

}  // namespace reprise::bench
