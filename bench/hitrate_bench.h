// Suite "hitrate": request traces replayed in virtual time against the store's index and eviction
// policies, published policies, and the bounds that no policy can beat.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "bench/extent.h"
#include "bench/hitrate/tally.h"
#include "bench/report.h"

namespace reprise::bench {

struct HitrateBenchOptions {
  Extent extent = Extent::kFull;
  std::vector<std::string> traces;      // files; empty: generated ones
  std::vector<std::string> policies;    // names (bench/hitrate/policies.h); empty: all
  std::vector<std::string> capacities;  // in percent of the trace's blocks; empty: the usual ones
  std::vector<int64_t> blocks;          // capacities in blocks, beside or in place of those
  Figure figure = Figure::kBlocks;      // of the tables and the plot
  std::string room = "after";           // or "before": see MakeRoom
  std::vector<std::string> tiers;       // GPU, RAM, disk in percent; empty: no GPU, 5 and 100
  int32_t log_block_tokens = 16;        // of request logs with token ids
  std::string cells_path;               // a CSV line for each trace, policy and capacity
  std::string plot_path;                // an SVG
  std::vector<std::string> generate;    // "chat" or "agent", and a file: only makes that trace
  int64_t seed = 1;                     // of generated traces
  int64_t num_requests = 20'000;        // of generated traces
  bool goals = false;                   // judge other traces than the public ones too

  // kInvalidArgument: names the flag and what is wrong with it.
  absl::Status Validate() const;
};

// Prints a table for each trace to `out`; the rows are what they come to, per policy. BLOCKS for
// seconds to minutes.
absl::StatusOr<std::vector<Result>> RunHitrateBench(const HitrateBenchOptions& options,
                                                    std::ostream& out);

}  // namespace reprise::bench
