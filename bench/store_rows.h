// The groups of rows of suite "store". What each row means and where its limit comes from:
// bench/README.md. Each function measures its group and returns its rows; errors are the store's
// or the machine's. BLOCKS for seconds to minutes.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "bench/extent.h"
#include "bench/report.h"

namespace reprise::bench {

// keys.*: the key chain of a prompt against hashing the same bytes.
absl::StatusOr<std::vector<Result>> MeasureKeys(Extent extent);

// match.*: verified blocks per second of one core, with ten million blocks resident.
absl::StatusOr<std::vector<Result>> MeasureMatch(Extent extent);

// ram.*: putting a block against memcpy, and getting one.
absl::StatusOr<std::vector<Result>> MeasureRam(Extent extent);

// ram.*_vs_redis: putting and getting blocks in process against redis-server on this machine. Rows
// without a peer where it is not installed.
absl::StatusOr<std::vector<Result>> MeasureRamPeer(Extent extent);

// store.metadata_bytes_per_block: what a block costs beside its payload.
absl::StatusOr<std::vector<Result>> MeasureMetadata(Extent extent);

// growth.*: what match, put, get and evict cost in a store of 10^4 to 10^7 blocks.
absl::StatusOr<std::vector<Result>> MeasureGrowth(Extent extent);

// contention.*: lookups per second with more and more threads.
absl::StatusOr<std::vector<Result>> MeasureContention(Extent extent);

}  // namespace reprise::bench
