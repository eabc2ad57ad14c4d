// The RocksDB options of the disk tier's index. Every option that is set stands here with its
// reason; all others keep RocksDB's defaults. Pure functions.
#pragma once

#include "rocksdb/options.h"

namespace reprise::cachestore {

// Of the database as a whole.
rocksdb::DBOptions IndexDbOptions();
// Of every column family.
rocksdb::ColumnFamilyOptions IndexColumnFamilyOptions();
// Of every write: it is durable when it returns.
rocksdb::WriteOptions IndexWriteOptions();
// Of a walk over all records.
rocksdb::ReadOptions IndexScanOptions();

}  // namespace reprise::cachestore
