// BadTableFileSystem: RocksDB's files, with tables whose reads hang or fail when a test asks for
// it. Thread-safe.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/synchronization/mutex.h"
#include "rocksdb/file_system.h"

namespace reprise::cachestore {

// What reads of tables do. The test's side; shared with the file system.
class TableReads {
 public:
  // From now on they wait, until Resume().
  void Hang() { Set(true, rocksdb::IOStatus::OK()); }
  // From now on they fail, until Resume().
  void Fail() { Set(false, rocksdb::IOStatus::IOError("the test says so")); }
  void Resume() { Set(false, rocksdb::IOStatus::OK()); }
  // Waits until a read hangs.
  void AwaitHanging() {
    absl::MutexLock lock(&mu_);
    while (hanging_ == 0) changed_.Wait(&mu_);
  }

  rocksdb::IOStatus Enter() {
    absl::MutexLock lock(&mu_);
    ++hanging_;
    changed_.SignalAll();
    while (hang_) changed_.Wait(&mu_);
    --hanging_;
    return status_;
  }

 private:
  void Set(bool hang, rocksdb::IOStatus status) {
    absl::MutexLock lock(&mu_);
    hang_ = hang;
    status_ = std::move(status);
    changed_.SignalAll();
  }

  absl::Mutex mu_;
  absl::CondVar changed_;
  bool hang_ ABSL_GUARDED_BY(mu_) = false;
  rocksdb::IOStatus status_ ABSL_GUARDED_BY(mu_);
  int hanging_ ABSL_GUARDED_BY(mu_) = 0;
};

class BadTableFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  explicit BadTableFileSystem(std::shared_ptr<TableReads> reads)
      : FileSystemWrapper(rocksdb::FileSystem::Default()), reads_(std::move(reads)) {}
  const char* Name() const override { return "BadTableFileSystem"; }

  rocksdb::IOStatus NewRandomAccessFile(const std::string& name,
                                        const rocksdb::FileOptions& options,
                                        std::unique_ptr<rocksdb::FSRandomAccessFile>* result,
                                        rocksdb::IODebugContext* debug) override {
    rocksdb::IOStatus status = target()->NewRandomAccessFile(name, options, result, debug);
    if (status.ok() && absl::EndsWith(name, ".sst")) {
      *result = std::make_unique<Table>(std::move(*result), reads_);
    }
    return status;
  }

 private:
  class Table final : public rocksdb::FSRandomAccessFileOwnerWrapper {
   public:
    Table(std::unique_ptr<rocksdb::FSRandomAccessFile> file, std::shared_ptr<TableReads> reads)
        : FSRandomAccessFileOwnerWrapper(std::move(file)), reads_(std::move(reads)) {}
    rocksdb::IOStatus Read(uint64_t offset, size_t bytes, const rocksdb::IOOptions& options,
                           rocksdb::Slice* result, char* scratch,
                           rocksdb::IODebugContext* debug) const override {
      rocksdb::IOStatus status = reads_->Enter();
      if (!status.ok()) return status;
      return FSRandomAccessFileOwnerWrapper::Read(offset, bytes, options, result, scratch, debug);
    }

   private:
    const std::shared_ptr<TableReads> reads_;
  };

  const std::shared_ptr<TableReads> reads_;
};

}  // namespace reprise::cachestore
