#include "cachestore/tier/disk_options.h"

#include <algorithm>
#include <cstdarg>
#include <memory>

#include "rocksdb/cache.h"
#include "rocksdb/env.h"
#include "rocksdb/filter_policy.h"
#include "rocksdb/table.h"

namespace reprise::cachestore {
namespace {

constexpr int64_t kMemtableBytes = int64_t{8} << 20;
constexpr int64_t kBlockCacheBytes = int64_t{32} << 20;
constexpr int64_t kMinBytes = int64_t{1} << 20;  // of either
constexpr size_t kScanReadaheadBytes = size_t{2} << 20;
constexpr int kFilterBitsPerKey = 10;

// An index is no larger than a 32nd of its tier, since a block takes 8 KiB there and its record,
// with the key, some 200 bytes. More memory than that would fill with what is no longer true.
size_t AtMostIndex(int64_t bytes, int64_t tier_bytes) {
  return static_cast<size_t>(std::clamp(tier_bytes / 32, kMinBytes, bytes));
}

class NoLog final : public rocksdb::Logger {
 public:
  using rocksdb::Logger::Logv;
  void Logv(const char* /*format*/, va_list /*arguments*/) override {}
};

}  // namespace

rocksdb::DBOptions IndexDbOptions(int64_t tier_bytes) {
  rocksdb::DBOptions options;
  // A new directory gets its database and column families here; whether the directory may be used
  // at all was decided before (DiskDirectory).
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  // Opening replays the log. "meta" and "namespaces" are hardly ever written and would keep old
  // logs alive until they are flushed; this bounds the replay to a fraction of a second.
  options.max_total_wal_size = 2 * AtMostIndex(kMemtableBytes, tier_bytes);
  // Statistics per file are refreshed by reading every file when opening; nothing here uses them.
  options.skip_stats_update_on_db_open = true;
  // The periodic statistics would wake a thread and write to a log that nobody reads.
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  // No text log: what fails comes back as a status, and on a full disk a failed log line ends the
  // process in builds of RocksDB with assertions, as Debian's is.
  options.info_log = std::make_shared<NoLog>();
  return options;
}

rocksdb::ColumnFamilyOptions IndexColumnFamilyOptions(int64_t tier_bytes) {
  rocksdb::ColumnFamilyOptions options;
  // A record is 72 bytes and 4 per token, so this holds tens of thousands of blocks. Small, because
  // whatever is in it is replayed from the log after a crash.
  options.write_buffer_size = AtMostIndex(kMemtableBytes, tier_bytes);
  // Keys and checksums do not compress, and recovery reads every record: decompression would only
  // cost time.
  options.compression = rocksdb::kNoCompression;
  rocksdb::BlockBasedTableOptions table;
  // Debian's RocksDB computes CRC32C in software.
  table.checksum = rocksdb::kXXH3;
  // Every Store asks for keys that are absent; the filter answers without reading.
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(kFilterBitsPerKey));
  // The default of 8 MiB is less than the index and filter blocks of a few million records. Blocks
  // of tables that are gone stay until others need their room, so it is always full in the end.
  table.block_cache = rocksdb::NewLRUCache(AtMostIndex(kBlockCacheBytes, tier_bytes));
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

rocksdb::WriteOptions IndexWriteOptions() {
  rocksdb::WriteOptions options;
  // The order of writes that survives kill -9 and power loss rests on this.
  options.sync = true;
  return options;
}

rocksdb::ReadOptions IndexScanOptions() {
  rocksdb::ReadOptions options;
  // Read once, from end to end: large sequential reads, and nothing pushed out of the cache for it.
  options.readahead_size = kScanReadaheadBytes;
  options.fill_cache = false;
  return options;
}

}  // namespace reprise::cachestore
