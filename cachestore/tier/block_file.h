// BlockFile and BlockFileSystem: the file operations the disk tier needs, and their POSIX form. The
// seam behind which another way to do I/O, or a failing one, can stand.
//
// Offsets, sizes and buffers are multiples of kIoAlignment, so that an implementation may bypass
// the kernel's cache. Thread-safe; calls on the same BlockFile may overlap as long as their bytes
// do not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace reprise::cachestore {

inline constexpr uint64_t kIoAlignment = 4096;

// `bytes` rounded up to whole multiples of kIoAlignment.
inline constexpr uint64_t AlignUp(uint64_t bytes) {
  return (bytes + kIoAlignment - 1) / kIoAlignment * kIoAlignment;
}

// One preallocated file. Closed when destroyed.
class BlockFile {
 public:
  virtual ~BlockFile() = default;

  // Writes `pieces` one after the other from `offset` on. Not durable before Sync(). BLOCKS. After
  // an error the bytes in the range are undefined.
  virtual absl::Status Write(uint64_t offset,
                             absl::Span<const absl::Span<const std::byte>> pieces) = 0;

  // Fills `pieces` one after the other from `offset` on. BLOCKS. kDataLoss: the file ends before
  // that; kInternal: I/O error. After an error the contents of `pieces` are undefined.
  virtual absl::Status Read(uint64_t offset, absl::Span<const absl::Span<std::byte>> pieces) = 0;

  // Makes all finished writes durable. BLOCKS.
  virtual absl::Status Sync() = 0;
};

// The payload files of one directory.
class BlockFileSystem {
 public:
  struct Entry {
    std::string name;
    uint64_t bytes = 0;
  };

  virtual ~BlockFileSystem() = default;

  // Creates `path` with `bytes` bytes of real, reserved space, durably; a leftover of that name is
  // replaced. After a failure there is no such file. kResourceExhausted: the file system is full.
  virtual absl::StatusOr<std::unique_ptr<BlockFile>> Create(const std::string& path,
                                                            uint64_t bytes) = 0;
  virtual absl::StatusOr<std::unique_ptr<BlockFile>> Open(const std::string& path) = 0;
  virtual absl::Status Remove(const std::string& path) = 0;
  // The regular files in `directory`, in no order.
  virtual absl::StatusOr<std::vector<Entry>> List(const std::string& directory) = 0;
};

// Files on the local file system, read and written with O_DIRECT where it is supported.
std::unique_ptr<BlockFileSystem> MakePosixBlockFileSystem();

// The status for errno `error` of the operation `what` ("write /data/slots-000001.dat at 4096"):
// kResourceExhausted where space or quota ran out, kInternal otherwise.
absl::Status ErrnoStatus(int error, absl::string_view what);

// Makes created, renamed and removed names in `directory` durable. BLOCKS.
absl::Status SyncDirectory(const std::string& directory);

}  // namespace reprise::cachestore
