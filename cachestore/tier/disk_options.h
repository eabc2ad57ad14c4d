// The RocksDB options of the disk tier's index. Every option that is set stands here with its
// reason; all others keep RocksDB's defaults. Pure functions.
#pragma once

#include <cstdint>

#include "rocksdb/options.h"

namespace reprise::cachestore {

// Of the database as a whole, in a tier of `tier_bytes`.
rocksdb::DBOptions IndexDbOptions(int64_t tier_bytes);
// Of every column family. They share one cache.
rocksdb::ColumnFamilyOptions IndexColumnFamilyOptions(int64_t tier_bytes);
// Of every write: it is durable when it returns.
rocksdb::WriteOptions IndexWriteOptions();
// Of a walk over all records.
rocksdb::ReadOptions IndexScanOptions();

}  // namespace reprise::cachestore
