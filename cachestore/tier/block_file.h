// BlockFile and BlockFileSystem: the file operations the disk tier needs, and their POSIX form. The
// seam behind which another way to do I/O, or a failing one, can stand.
//
// Reads and writes are asynchronous. Offsets, sizes and buffers are multiples of kIoAlignment, so
// that an implementation may bypass the kernel's cache. Thread-safe; reads and writes of the same
// BlockFile may overlap as long as their bytes do not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
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

// A part of a file to read: `pieces` are filled one after the other from `offset` on. `done` gets
// OK; kDataLoss: the file ends before that; kInternal: I/O error. After an error the contents of
// `pieces` are undefined.
struct BlockRead {
  uint64_t offset = 0;
  std::vector<absl::Span<std::byte>> pieces;
  absl::AnyInvocable<void(const absl::Status&) &&> done;
};

// A part of a file to write: `pieces` one after the other from `offset` on. Not durable before
// Sync(). `done` gets OK; kResourceExhausted; kInternal: I/O error. After an error the bytes in the
// range are undefined.
struct BlockWrite {
  uint64_t offset = 0;
  std::vector<absl::Span<const std::byte>> pieces;
  absl::AnyInvocable<void(const absl::Status&) &&> done;
};

// One preallocated file. Closed when destroyed. REQUIRES: its reads and writes have ended by then,
// and its file system lives.
class BlockFile {
 public:
  virtual ~BlockFile() = default;

  // Start the batch. `done` of each is called once, on a thread of the file system, never inside
  // the call, with no lock held; the memory of the pieces must stay until then.
  virtual void StartReads(std::vector<BlockRead> batch) = 0;
  virtual void StartWrites(std::vector<BlockWrite> batch) = 0;

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

  // Waits for everything started or posted. BLOCKS.
  virtual ~BlockFileSystem() = default;

  // Creates `path` with `bytes` bytes of real, reserved space, durably; a leftover of that name is
  // replaced. After a failure there is no such file. kResourceExhausted: the file system is full.
  virtual absl::StatusOr<std::unique_ptr<BlockFile>> Create(const std::string& path,
                                                            uint64_t bytes) = 0;
  virtual absl::StatusOr<std::unique_ptr<BlockFile>> Open(const std::string& path) = 0;
  virtual absl::Status Remove(const std::string& path) = 0;
  // The regular files in `directory`, in no order.
  virtual absl::StatusOr<std::vector<Entry>> List(const std::string& directory) = 0;

  // Runs `work` once on one of the threads on which reads and writes end.
  virtual void Post(absl::AnyInvocable<void() &&> work) = 0;
  // Reads and writes that are carried out at a time; more wait in line.
  virtual int max_in_flight() const = 0;
  // How reads and writes are done, for people: "io_uring" or "threads".
  virtual absl::string_view io_method() const = 0;
};

enum class IoMethod {
  kBest,     // io_uring, or threads where the kernel refuses it
  kThreads,  // blocking calls on threads
};

// Files on the local file system, read and written with O_DIRECT where it is supported.
std::unique_ptr<BlockFileSystem> MakePosixBlockFileSystem(IoMethod method = IoMethod::kBest);

// The status for errno `error` of the operation `what` ("write /data/slots-000001.dat at 4096"):
// kResourceExhausted where space or quota ran out, kInternal otherwise.
absl::Status ErrnoStatus(int error, absl::string_view what);

// Makes created, renamed and removed names in `directory` durable. BLOCKS.
absl::Status SyncDirectory(const std::string& directory);

}  // namespace reprise::cachestore
