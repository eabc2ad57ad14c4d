// ForwardedBlockFiles: the system's files, of which a subclass changes some operations; it hands on
// the others. Thread-safe.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/tier/block_file.h"

namespace reprise::bench {

class ForwardedBlockFile : public cachestore::BlockFile {
 public:
  explicit ForwardedBlockFile(std::unique_ptr<cachestore::BlockFile> file)
      : file_(std::move(file)) {}

  void StartReads(std::vector<cachestore::BlockRead> batch) override {
    file_->StartReads(std::move(batch));
  }
  void StartWrites(std::vector<cachestore::BlockWrite> batch) override {
    file_->StartWrites(std::move(batch));
  }
  absl::Status Sync() override { return file_->Sync(); }

 private:
  const std::unique_ptr<cachestore::BlockFile> file_;
};

class ForwardedBlockFiles : public cachestore::BlockFileSystem {
 public:
  absl::StatusOr<std::unique_ptr<cachestore::BlockFile>> Create(const std::string& path,
                                                                uint64_t bytes) override {
    ASSIGN_OR_RETURN(std::unique_ptr<cachestore::BlockFile> file, files_->Create(path, bytes));
    return Changed(std::move(file));
  }
  absl::StatusOr<std::unique_ptr<cachestore::BlockFile>> Open(const std::string& path) override {
    ASSIGN_OR_RETURN(std::unique_ptr<cachestore::BlockFile> file, files_->Open(path));
    return Changed(std::move(file));
  }
  absl::Status Remove(const std::string& path) override { return files_->Remove(path); }
  absl::StatusOr<std::vector<Entry>> List(const std::string& directory) override {
    return files_->List(directory);
  }
  void Post(absl::AnyInvocable<void() &&> work) override { files_->Post(std::move(work)); }
  int max_in_flight() const override { return files_->max_in_flight(); }
  absl::string_view io_method() const override { return files_->io_method(); }

 protected:
  // The file to be used in place of `file`: a ForwardedBlockFile that owns it.
  virtual std::unique_ptr<cachestore::BlockFile> Changed(
      std::unique_ptr<cachestore::BlockFile> file) = 0;
  // Waits for everything started or posted; nothing may be afterwards. BLOCKS.
  void Close() { files_ = nullptr; }

 private:
  std::unique_ptr<cachestore::BlockFileSystem> files_ = cachestore::MakePosixBlockFileSystem();
};

}  // namespace reprise::bench
