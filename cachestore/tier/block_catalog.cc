#include "cachestore/tier/block_catalog.h"

#include <sys/random.h>

#include <cerrno>
#include <utility>

#include "absl/base/attributes.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/tier/block_file.h"
#include "cachestore/tier/disk_options.h"
#include "cachestore/tier/little_endian.h"

namespace reprise::cachestore {
namespace {

constexpr char kSecretKey[] = "secret";    // 16 bytes: hi, lo, little endian
constexpr char kCreatedKey[] = "created";  // RFC 3339 text, for people
constexpr size_t kSecretBytes = 16;

// A saved state: version, XXH3-64 of what follows, bytes.
constexpr char kStatePrefix[] = "state.";
constexpr uint32_t kStateVersion = 1;
constexpr size_t kStateHeaderBytes = 12;

absl::Status FromRocksDb(const rocksdb::Status& status, absl::string_view what) {
  if (status.ok()) return absl::OkStatus();
  const std::string message = absl::StrCat(what, ": ", status.ToString());
  if (status.IsNoSpace()) return absl::ResourceExhaustedError(message);
  if (status.IsCorruption()) return absl::DataLossError(message);
  return absl::InternalError(message);
}

rocksdb::Slice ToSlice(absl::string_view text) { return {text.data(), text.size()}; }

absl::string_view ToView(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

// Writes `batch`, durably, together with those of other threads that write now: RocksDB lets one
// thread read the batches of all. A frame of its own, so that the thread sanitizer tells it from
// what its callers do (tests/tsan.supp).
ABSL_ATTRIBUTE_NOINLINE ABSL_ATTRIBUTE_NO_TAIL_CALL rocksdb::Status WriteInGroup(
    rocksdb::DB& db, rocksdb::WriteBatch* batch) {
  return db.Write(IndexWriteOptions(), batch);
}

uint64_t HashOf(absl::string_view bytes) {
  return HashBytes64({reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()});
}

absl::StatusOr<std::string> RandomBytes(size_t count) {
  std::string bytes(count, '\0');
  // Up to 256 bytes come whole or not at all.
  if (getrandom(bytes.data(), count, 0) != static_cast<ssize_t>(count)) {
    return ErrnoStatus(errno, "getrandom");
  }
  return bytes;
}

}  // namespace

BlockCatalog::BlockCatalog(std::unique_ptr<rocksdb::DB> db,
                           std::vector<rocksdb::ColumnFamilyHandle*> families)
    : db_(std::move(db)),
      default_family_(families[0]),
      meta_(families[1]),
      namespaces_(families[2]),
      blocks_(families[3]) {}

BlockCatalog::~BlockCatalog() {
  for (rocksdb::ColumnFamilyHandle* family : {default_family_, meta_, namespaces_, blocks_}) {
    db_->DestroyColumnFamilyHandle(family).PermitUncheckedError();
  }
}

absl::StatusOr<std::unique_ptr<BlockCatalog>> BlockCatalog::Open(const std::string& directory,
                                                                 rocksdb::Env* env,
                                                                 int64_t tier_bytes) {
  rocksdb::DBOptions db_options = IndexDbOptions(tier_bytes);
  if (env != nullptr) db_options.env = env;
  const rocksdb::ColumnFamilyOptions family_options = IndexColumnFamilyOptions(tier_bytes);
  const std::vector<rocksdb::ColumnFamilyDescriptor> families = {
      {rocksdb::kDefaultColumnFamilyName, family_options},
      {"meta", family_options},
      {"namespaces", family_options},
      {"blocks", family_options},
  };
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* db = nullptr;
  RETURN_IF_ERROR(FromRocksDb(rocksdb::DB::Open(db_options, directory, families, &handles, &db),
                              absl::StrCat("open index ", directory)));
  std::unique_ptr<BlockCatalog> catalog(
      new BlockCatalog(std::unique_ptr<rocksdb::DB>(db), std::move(handles)));
  RETURN_IF_ERROR(catalog->LoadOrCreateSecret());
  return catalog;
}

absl::Status BlockCatalog::LoadOrCreateSecret() {
  std::string bytes;
  const rocksdb::Status found = db_->Get(rocksdb::ReadOptions(), meta_, kSecretKey, &bytes);
  if (found.IsNotFound()) {
    ASSIGN_OR_RETURN(bytes, RandomBytes(kSecretBytes));
    rocksdb::WriteBatch batch;
    RETURN_IF_ERROR(FromRocksDb(batch.Put(meta_, kSecretKey, bytes), "write secret"));
    RETURN_IF_ERROR(FromRocksDb(
        batch.Put(meta_, kCreatedKey, absl::FormatTime(absl::Now(), absl::UTCTimeZone())),
        "write creation time"));
    RETURN_IF_ERROR(Write(&batch));
  } else {
    RETURN_IF_ERROR(FromRocksDb(found, "read secret"));
  }
  if (bytes.size() != kSecretBytes) {
    return absl::DataLossError(
        absl::StrCat("index: secret of ", bytes.size(), " bytes, expected ", kSecretBytes));
  }
  secret_ = {GetLittleEndian64(bytes.data()), GetLittleEndian64(bytes.data() + 8)};
  return absl::OkStatus();
}

absl::Status BlockCatalog::BindNamespace(const BlockKey& root,
                                         absl::string_view identity_encoding) {
  absl::MutexLock lock(&namespaces_mu_);
  const std::string key = EncodeIndexKey(root);
  std::string bound;
  const rocksdb::Status found = db_->Get(rocksdb::ReadOptions(), namespaces_, key, &bound);
  if (found.IsNotFound()) {
    rocksdb::WriteBatch batch;
    RETURN_IF_ERROR(
        FromRocksDb(batch.Put(namespaces_, key, ToSlice(identity_encoding)), "write namespace"));
    return Write(&batch);
  }
  RETURN_IF_ERROR(FromRocksDb(found, "read namespace"));
  if (bound == identity_encoding) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "root key ", root.ToHex(), " stands for the namespace \"", absl::CHexEscape(bound),
      "\" and cannot stand for \"", absl::CHexEscape(identity_encoding), "\""));
}

absl::Status BlockCatalog::ForEachNamespace(
    absl::FunctionRef<void(const BlockKey&, absl::string_view)> visit) const {
  const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(IndexScanOptions(), namespaces_));
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
    visit(DecodeIndexKey(ToView(it->key())), ToView(it->value()));
  }
  return FromRocksDb(it->status(), "scan namespaces");
}

absl::Status BlockCatalog::SaveState(absl::string_view name, absl::string_view bytes) {
  std::string value(kStateHeaderBytes, '\0');
  PutLittleEndian32(kStateVersion, value.data());
  PutLittleEndian64(HashOf(bytes), value.data() + 4);
  absl::StrAppend(&value, bytes);
  rocksdb::WriteBatch batch;
  RETURN_IF_ERROR(FromRocksDb(batch.Put(meta_, absl::StrCat(kStatePrefix, name), value),
                              absl::StrCat("write state ", name)));
  return Write(&batch);
}

absl::StatusOr<std::string> BlockCatalog::LoadState(absl::string_view name) const {
  std::string value;
  const rocksdb::Status found =
      db_->Get(rocksdb::ReadOptions(), meta_, absl::StrCat(kStatePrefix, name), &value);
  if (found.IsNotFound()) return absl::NotFoundError(absl::StrCat("no state ", name));
  RETURN_IF_ERROR(FromRocksDb(found, absl::StrCat("read state ", name)));
  if (value.size() < kStateHeaderBytes) {
    return absl::DataLossError(absl::StrCat("state ", name, " of ", value.size(), " bytes"));
  }
  const uint32_t version = GetLittleEndian32(value.data());
  const uint64_t hash = GetLittleEndian64(value.data() + 4);
  value.erase(0, kStateHeaderBytes);
  if (version != kStateVersion) {
    return absl::DataLossError(
        absl::StrCat("state ", name, " of version ", version, "; this is ", kStateVersion));
  }
  if (hash != HashOf(value)) {
    return absl::DataLossError(
        absl::StrCat("state ", name, ": its checksum is not that of its ", value.size(), " bytes"));
  }
  return value;
}

absl::StatusOr<std::optional<BlockRecord>> BlockCatalog::Find(const BlockKey& key) const {
  rocksdb::PinnableSlice value;
  const rocksdb::Status found =
      db_->Get(rocksdb::ReadOptions(), blocks_, EncodeIndexKey(key), &value);
  if (found.IsNotFound()) return std::nullopt;
  RETURN_IF_ERROR(FromRocksDb(found, absl::StrCat("read index record of block ", key.ToHex())));
  ASSIGN_OR_RETURN(BlockRecord record, DecodeBlockRecord(ToView(value)));
  return record;
}

absl::Status BlockCatalog::Put(absl::Span<const Entry> entries) {
  rocksdb::WriteBatch batch;
  for (const Entry& entry : entries) {
    RETURN_IF_ERROR(FromRocksDb(batch.Put(blocks_, EncodeIndexKey(entry.key),
                                          EncodeBlockRecord(entry.record, entry.tokens)),
                                "write index records"));
  }
  return Write(&batch);
}

absl::Status BlockCatalog::Erase(absl::Span<const BlockKey> keys) {
  if (keys.empty()) return absl::OkStatus();
  rocksdb::WriteBatch batch;
  for (const BlockKey& key : keys) {
    RETURN_IF_ERROR(FromRocksDb(batch.Delete(blocks_, EncodeIndexKey(key)), "erase index records"));
  }
  return Write(&batch);
}

absl::Status BlockCatalog::Scan(
    const KeyRange& range,
    absl::FunctionRef<void(const BlockKey&, absl::string_view)> visit) const {
  const std::string first = EncodeIndexKey({.hi = uint64_t{range.first} << 48, .lo = 0});
  const std::string end = EncodeIndexKey({.hi = uint64_t{range.end} << 48, .lo = 0});
  const rocksdb::Slice upper_bound = ToSlice(end);
  rocksdb::ReadOptions options = IndexScanOptions();
  if (range.end < 1 << 16) options.iterate_upper_bound = &upper_bound;
  const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(options, blocks_));
  for (it->Seek(ToSlice(first)); it->Valid(); it->Next()) {
    // Every key is written by EncodeIndexKey; RocksDB's checksums rule out any other.
    visit(DecodeIndexKey(ToView(it->key())), ToView(it->value()));
  }
  return FromRocksDb(it->status(), "scan index");
}

absl::Status BlockCatalog::Write(rocksdb::WriteBatch* batch) {
  {
    // RocksDB refuses all writes after one has failed, until it is told that the cause may be gone
    // (space was freed, say).
    absl::MutexLock lock(&write_health_mu_);
    if (last_write_failed_) {
      const rocksdb::Status resumed = db_->Resume();
      // Busy: RocksDB is at it by itself, and the write below says whether that has worked.
      if (!resumed.IsBusy()) {
        RETURN_IF_ERROR(FromRocksDb(resumed, "resume index after a failed write"));
        last_write_failed_ = false;
      }
    }
  }
  const rocksdb::Status written = WriteInGroup(*db_, batch);
  if (!written.ok()) {
    absl::MutexLock lock(&write_health_mu_);
    last_write_failed_ = true;
  }
  return FromRocksDb(written, "write index");
}

}  // namespace reprise::cachestore
