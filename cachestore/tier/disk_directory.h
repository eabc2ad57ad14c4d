// DiskDirectory: a directory that is certainly a disk tier's, of a format we know, and locked.
//
//     FORMAT            "reprise-disk-tier 1\n": written last when the directory is set up
//     index/            RocksDB
//     slots-000001.dat  payload files
//
// Directory and index are accessible to their owner alone, since the index holds the token ids of
// prompts. Nothing in a directory that is refused is changed. Immutable; holds the lock until
// destroyed, and the kernel drops it when the process dies.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace reprise::cachestore {

inline constexpr int kDiskFormatVersion = 1;

class DiskDirectory {
 public:
  // Opens or sets up the directory `path`. BLOCKS.
  // kFailedPrecondition: in use, of another format version, not empty and not a disk tier's, or not
  // readable; kResourceExhausted: the file system is full.
  static absl::StatusOr<std::unique_ptr<DiskDirectory>> Open(const std::string& path);
  ~DiskDirectory();

  DiskDirectory(const DiskDirectory&) = delete;
  DiskDirectory& operator=(const DiskDirectory&) = delete;

  const std::string& path() const { return path_; }
  std::string index_path() const { return path_ + "/index"; }

  // Renames an index that cannot be read to index.corrupt-N, beside `reason` in its file REASON,
  // and returns the new path; a new index may be created then. BLOCKS. REQUIRES: it is not open.
  absl::StatusOr<std::string> SetIndexAside(absl::string_view reason) const;

  // Size of the whole file system the directory is on.
  absl::StatusOr<int64_t> FileSystemBytes() const;

 private:
  DiskDirectory(std::string path, int locked_fd);
  absl::Status MakePrivate() const;

  const std::string path_;
  const int locked_fd_;
};

}  // namespace reprise::cachestore
