// BadLogFileSystem: RocksDB's files, with a log that fails the way a test asks for. Thread-safe.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "rocksdb/env.h"
#include "rocksdb/file_system.h"

namespace reprise::cachestore {

// How RocksDB's log takes writes.
enum class LogState {
  kGood,
  kFull,      // not at all: no space left
  kUnsynced,  // it has them, but says that they are not durable for want of space
  kBroken,    // not at all: an I/O error
};
using SharedLogState = std::shared_ptr<std::atomic<LogState>>;

// RocksDB's files, with a log in a given state.
class BadLogFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  explicit BadLogFileSystem(SharedLogState state)
      : FileSystemWrapper(rocksdb::FileSystem::Default()), state_(std::move(state)) {}
  const char* Name() const override { return "BadLogFileSystem"; }

  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* result,
                                    rocksdb::IODebugContext* debug) override {
    rocksdb::IOStatus status = target()->NewWritableFile(name, options, result, debug);
    if (status.ok() && absl::EndsWith(name, ".log")) {
      *result = std::make_unique<Log>(std::move(*result), state_);
    }
    return status;
  }

 private:
  class Log final : public rocksdb::FSWritableFileOwnerWrapper {
   public:
    Log(std::unique_ptr<rocksdb::FSWritableFile> file, SharedLogState state)
        : FSWritableFileOwnerWrapper(std::move(file)), state_(std::move(state)) {}
    using FSWritableFileOwnerWrapper::Append;
    rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                             rocksdb::IODebugContext* debug) override {
      if (*state_ == LogState::kFull) return rocksdb::IOStatus::NoSpace("the test says so");
      if (*state_ == LogState::kBroken) return rocksdb::IOStatus::IOError("the test says so");
      return FSWritableFileOwnerWrapper::Append(data, options, debug);
    }
    rocksdb::IOStatus Sync(const rocksdb::IOOptions& options,
                           rocksdb::IODebugContext* debug) override {
      if (*state_ == LogState::kUnsynced) return rocksdb::IOStatus::NoSpace("the test says so");
      return FSWritableFileOwnerWrapper::Sync(options, debug);
    }

   private:
    const SharedLogState state_;
  };

  const SharedLogState state_;
};

// An environment with these files; outlives the tier whose index is on it.
inline std::unique_ptr<rocksdb::Env> MakeBadLogEnv(SharedLogState state) {
  return rocksdb::NewCompositeEnv(std::make_shared<BadLogFileSystem>(std::move(state)));
}

}  // namespace reprise::cachestore
