// The groups of rows of suite "disk". What each row means and where its limit comes from:
// bench/README.md. Each function works in folders of its own under `directory`, leaves nothing
// there, and returns its rows; errors are the store's, the peers' or the machine's. BLOCKS for up
// to minutes.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/extent.h"
#include "bench/report.h"

namespace reprise::bench {

// disk.get_2mib, disk.put_2mib_durable, each against O_DIRECT and two ways to keep payload in
// RocksDB; disk.get_128kib.
absl::StatusOr<std::vector<Result>> MeasureThroughput(Extent extent, const std::string& directory);

// disk.write_amplification, by the device's own counters.
absl::StatusOr<std::vector<Result>> MeasureAmplification(Extent extent,
                                                         const std::string& directory);

// disk.recovery_blocks_per_s: opening a store of two million blocks.
absl::StatusOr<std::vector<Result>> MeasureRecovery(Extent extent, const std::string& directory);

}  // namespace reprise::bench
