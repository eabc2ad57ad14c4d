#include "bench/peers/rocks_peer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cachestore/base/status_macros.h"
#include "rocksdb/db.h"
#include "rocksdb/table.h"

namespace reprise::bench {
namespace {

constexpr uint64_t kMemtableBytes = uint64_t{64} << 20;

absl::Status ToAbsl(const rocksdb::Status& status) {
  return status.ok() ? absl::OkStatus() : absl::InternalError(status.ToString());
}

std::string KeyOf(int64_t number) { return absl::StrFormat("%016d", number); }

rocksdb::Options OptionsFor(RocksPeer::Kind kind) {
  rocksdb::Options options;
  options.create_if_missing = true;
  options.error_if_exists = true;
  options.use_direct_reads = true;
  options.use_direct_io_for_flush_and_compaction = true;
  options.compression = rocksdb::kNoCompression;
  options.disable_auto_compactions = true;
  // Without compaction level 0 only grows; it must not stop writes.
  options.level0_slowdown_writes_trigger = 1 << 20;
  options.level0_stop_writes_trigger = 1 << 20;
  // Puts go on while the memtables before are written out.
  options.write_buffer_size = kMemtableBytes;
  options.max_write_buffer_number = 6;
  options.IncreaseParallelism(2);
  if (kind == RocksPeer::Kind::kBlobDb) {
    options.enable_blob_files = true;
    options.blob_file_size = uint64_t{256} << 20;
  }
  rocksdb::BlockBasedTableOptions table;
  table.checksum = rocksdb::kXXH3;
  // A cache would answer what the disk is asked.
  table.no_block_cache = kind == RocksPeer::Kind::kPlainSst;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

}  // namespace

absl::StatusOr<std::unique_ptr<RocksPeer>> RocksPeer::Create(Kind kind,
                                                             const std::string& directory) {
  rocksdb::DB* db = nullptr;
  RETURN_IF_ERROR(ToAbsl(rocksdb::DB::Open(OptionsFor(kind), directory, &db)));
  return std::unique_ptr<RocksPeer>(new RocksPeer(std::unique_ptr<rocksdb::DB>(db)));
}

RocksPeer::RocksPeer(std::unique_ptr<rocksdb::DB> db) : db_(std::move(db)) {}
RocksPeer::~RocksPeer() = default;

absl::Status RocksPeer::Put(int64_t first, int64_t count, absl::string_view value) {
  rocksdb::WriteOptions options;
  options.disableWAL = true;
  for (int64_t i = first; i < first + count; ++i) {
    RETURN_IF_ERROR(ToAbsl(db_->Put(options, KeyOf(i), {value.data(), value.size()})));
  }
  return ToAbsl(db_->Flush(rocksdb::FlushOptions()));
}

absl::Status RocksPeer::Get(int64_t number, size_t value_bytes) {
  rocksdb::PinnableSlice value;
  RETURN_IF_ERROR(
      ToAbsl(db_->Get(rocksdb::ReadOptions(), db_->DefaultColumnFamily(), KeyOf(number), &value)));
  if (value.size() == value_bytes) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("value ", number, " has ", value.size(), " bytes"));
}

}  // namespace reprise::bench
