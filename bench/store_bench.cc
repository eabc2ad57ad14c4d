#include "bench/store_bench.h"

#include "bench/row_groups.h"
#include "bench/store_rows.h"

namespace reprise::bench {

absl::StatusOr<std::vector<Result>> RunStoreBench(const StoreBenchOptions& options) {
  return RunGroups({{"keys", [&] { return MeasureKeys(options.extent); }},
                    {"match", [&] { return MeasureMatch(options.extent); }},
                    {"ram", [&] { return MeasureRam(options.extent); }},
                    {"redis", [&] { return MeasureRamPeer(options.extent); }},
                    {"metadata", [&] { return MeasureMetadata(options.extent); }},
                    {"growth", [&] { return MeasureGrowth(options.extent); }},
                    {"contention", [&] { return MeasureContention(options.extent); }}},
                   options.groups, options.extent);
}

}  // namespace reprise::bench
