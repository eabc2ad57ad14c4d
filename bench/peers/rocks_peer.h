// RocksPeer: payloads kept in RocksDB itself, as many stores do; a peer of the disk tier. Set up as
// fast as it goes: direct I/O, no WAL (durable when flushed), no compression, no compaction.
// Thread-safe for Get; one Put at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace rocksdb {
class DB;
}

namespace reprise::bench {

class RocksPeer {
 public:
  enum class Kind {
    kBlobDb,    // integrated BlobDB: values in blob files
    kPlainSst,  // values in the tables, XXH3 block checksums
  };

  // A new database in `directory`, which must not exist.
  static absl::StatusOr<std::unique_ptr<RocksPeer>> Create(Kind kind, const std::string& directory);
  ~RocksPeer();

  // Puts values [first, first + count) and makes them durable. BLOCKS.
  absl::Status Put(int64_t first, int64_t count, absl::string_view value);
  // Reads and verifies value `number`. kDataLoss: not `value_bytes` long. BLOCKS.
  absl::Status Get(int64_t number, size_t value_bytes);

 private:
  explicit RocksPeer(std::unique_ptr<rocksdb::DB> db);

  const std::unique_ptr<rocksdb::DB> db_;
};

}  // namespace reprise::bench
