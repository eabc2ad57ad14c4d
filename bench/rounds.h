// Rounds: several ways of doing the same work, measured in turns (A B C, A B C, ...), so that a
// noisy machine disturbs all of them alike, and compared by their medians.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace reprise::bench {

// One way of doing the work.
struct Arm {
  std::string name;  // shown while it runs
  // Does the work once. Returns the figure of this round: seconds, or a rate.
  std::function<absl::StatusOr<double>()> run;
};

// The median of `figures`; of an even number, the lower of the middle two. REQUIRES: not empty.
double Median(std::vector<double> figures);

// Runs every arm once without counting it, then `rounds` (> 0) times each in turns. Returns the
// median figure of each arm, in their order. Shows progress as `what`. Errors are an arm's. BLOCKS.
absl::StatusOr<std::vector<double>> MedianOfRounds(const std::string& what, int rounds,
                                                   absl::Span<const Arm> arms);

// Seconds that `work` takes.
double SecondsOf(const std::function<void()>& work);

}  // namespace reprise::bench
