// The disk tier: payload in preallocated files of fixed slots, index and metadata in RocksDB.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "cachestore/tier/backing_tier.h"

namespace reprise::cachestore {

struct DiskTierOptions {
  std::string directory;       // created if it is missing
  int64_t capacity_bytes = 0;  // exact budget of the payload files
};

// Opens or creates the tier in a directory, which is locked while the tier lives. BLOCKS.
// kInvalidArgument: options; kFailedPrecondition: the directory is locked, of a newer format or of
// something else; kResourceExhausted: the budget does not fit on the file system.
absl::StatusOr<std::unique_ptr<BackingTier>> OpenDiskTier(const DiskTierOptions& options);

}  // namespace reprise::cachestore
