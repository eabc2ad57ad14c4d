// BlockCatalog: the disk tier's metadata in RocksDB. Knows keys, records, namespaces and what is
// saved beside them under a name, and nothing of payload files. Every change is one synced write
// batch: it is whole and durable, or not there.
//
// Column families: "meta" (secret, created, saved states), "namespaces" (root key -> identity
// encoding) and "blocks" (key -> record, block_record.h). Thread-safe.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "cachestore/base/hash.h"
#include "cachestore/block/block_key.h"
#include "cachestore/tier/block_record.h"
#include "rocksdb/db.h"

namespace reprise::cachestore {

// Keys from `first` up to and without `end`, by their first 16 bits.
struct KeyRange {
  uint32_t first = 0;
  uint32_t end = 1 << 16;

  // Part number `part` of the whole range cut into `parts`.
  static KeyRange Part(uint32_t part, uint32_t parts) {
    return {.first = (part << 16) / parts, .end = ((part + 1) << 16) / parts};
  }
};

class BlockCatalog {
 public:
  struct Entry {
    BlockKey key;
    BlockRecord record;
    absl::Span<const TokenId> tokens;
  };

  // Opens the catalog in `directory`, or creates it there with a new random secret; `env` (null:
  // the system's) does its I/O and outlives it. It takes no more memory than that of a tier of
  // `tier_bytes` needs. BLOCKS.
  static absl::StatusOr<std::unique_ptr<BlockCatalog>> Open(
      const std::string& directory, rocksdb::Env* env = nullptr,
      int64_t tier_bytes = std::numeric_limits<int64_t>::max());
  ~BlockCatalog();

  BlockCatalog(const BlockCatalog&) = delete;
  BlockCatalog& operator=(const BlockCatalog&) = delete;

  const Hash128& secret() const { return secret_; }

  // See BackingTier::BindNamespace.
  absl::Status BindNamespace(const BlockKey& root, absl::string_view identity_encoding);
  // See BackingTier::ForEachNamespace.
  absl::Status ForEachNamespace(
      absl::FunctionRef<void(const BlockKey& root, absl::string_view identity_encoding)> visit)
      const;

  // See BackingTier::SaveState and LoadState.
  absl::Status SaveState(absl::string_view name, absl::string_view bytes);
  absl::StatusOr<std::string> LoadState(absl::string_view name) const;

  // The record of `key`, or nullopt. kDataLoss: there is one, and it cannot be read.
  absl::StatusOr<std::optional<BlockRecord>> Find(const BlockKey& key) const;

  // Adds all entries in one durable step. After an error they may be there or not: Erase them
  // before their slots are used again. BLOCKS.
  absl::Status Put(absl::Span<const Entry> entries);
  // Removes all keys in one durable step; absent ones do not matter. After an error they may be
  // there or not. BLOCKS.
  absl::Status Erase(absl::Span<const BlockKey> keys);

  // Calls `visit` with every key in `range` and its encoded record, in key order, as of one moment.
  // BLOCKS. kDataLoss: some part of the index cannot be read.
  absl::Status Scan(
      const KeyRange& range,
      absl::FunctionRef<void(const BlockKey& key, absl::string_view record)> visit) const;

 private:
  BlockCatalog(std::unique_ptr<rocksdb::DB> db, std::vector<rocksdb::ColumnFamilyHandle*> families);

  absl::Status LoadOrCreateSecret();
  absl::Status Write(rocksdb::WriteBatch* batch);

  const std::unique_ptr<rocksdb::DB> db_;
  rocksdb::ColumnFamilyHandle* const default_family_;  // RocksDB wants it; empty
  rocksdb::ColumnFamilyHandle* const meta_;
  rocksdb::ColumnFamilyHandle* const namespaces_;
  rocksdb::ColumnFamilyHandle* const blocks_;
  Hash128 secret_;             // constant after Open
  absl::Mutex namespaces_mu_;  // makes BindNamespace's check and write one step
  absl::Mutex write_health_mu_;
  bool last_write_failed_ ABSL_GUARDED_BY(write_health_mu_) = false;
};

}  // namespace reprise::cachestore
