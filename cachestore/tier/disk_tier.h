// DiskTier: the BackingTier on a local directory. RocksDB holds the index and all metadata (small,
// transactional, synced); payload lies in preallocated files of fixed, 4 KiB aligned slots. Byte
// layout, order of writes and recovery: cachestore/README.md, "Disk format".
//
// Invariants:
//  (1) The sizes of all payload files add up to at most capacity_bytes, at every moment.
//  (2) A key is durably gone from the index before its slot is written again, and durably in the
//      index only after its payload is on disk; so what the index names can be verified.
//  (3) A slot belongs to at most one block.
// What does not verify on Load is kDataLoss, never data. Thread-safe; no lock is held over payload
// I/O.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "cachestore/tier/backing_tier.h"

namespace rocksdb {
class Env;
}  // namespace rocksdb

namespace reprise::cachestore {

class BlockFileSystem;  // block_file.h

struct DiskTierOptions {
  std::string directory;       // created when it is not there
  int64_t capacity_bytes = 0;  // exact budget of the payload files; the index is not part of it
};

// Opens the tier in options.directory, or creates it there, and recovers what was stored: reads the
// index only. BLOCKS.
// kInvalidArgument: an option; kFailedPrecondition: the directory is in use, of a newer format, or
// holds something else; kResourceExhausted: the file system is full; kInternal: the index cannot be
// opened. Every error names the directory and the cause. An index whose bytes are damaged is set
// aside (index.corrupt-N, never deleted) and the tier starts empty; losses() says so then.
absl::StatusOr<std::unique_ptr<BackingTier>> OpenDiskTier(const DiskTierOptions& options);

// The same, with the payload files on `files` instead of on the local file system, and the index on
// `index_env`, which outlives the tier (null: the system's).
absl::StatusOr<std::unique_ptr<BackingTier>> OpenDiskTier(const DiskTierOptions& options,
                                                          std::shared_ptr<BlockFileSystem> files,
                                                          rocksdb::Env* index_env = nullptr);

}  // namespace reprise::cachestore
