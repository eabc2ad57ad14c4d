#include "bench/direct_disk.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "bench/rounds.h"
#include "cachestore/base/check.h"
#include "cachestore/base/status_macros.h"

namespace reprise::bench {
namespace {

constexpr size_t kAlignment = 4096;
constexpr int64_t kFillBytes = int64_t{4} << 20;

using Buffer = std::unique_ptr<char, decltype(&std::free)>;

Buffer AlignedBuffer(int64_t bytes) {
  Buffer buffer(static_cast<char*>(std::aligned_alloc(kAlignment, bytes)), &std::free);
  CHECK(buffer != nullptr);
  Random random(6);
  for (int64_t i = 0; i < bytes; i += 8) {
    const uint64_t word = random.Next();
    std::memcpy(buffer.get() + i, &word, 8);
  }
  return buffer;
}

// Runs `transfer(buffer, offset)`, which says whether all bytes went, for every offset, `depth` at
// a time. Returns the seconds that it takes.
absl::StatusOr<double> TransferSeconds(absl::string_view what, int64_t block_bytes,
                                       const std::vector<int64_t>& offsets, int depth,
                                       const std::function<bool(char*, int64_t)>& transfer) {
  std::vector<Buffer> buffers;
  for (int i = 0; i < depth; ++i) buffers.push_back(AlignedBuffer(block_bytes));
  std::atomic<size_t> next = 0;  // only hands out numbers
  std::atomic<int> error = 0;
  const double seconds = SecondsOf([&] {
    std::vector<std::thread> threads;
    for (const Buffer& buffer : buffers) {
      threads.emplace_back([&, memory = buffer.get()] {
        for (size_t i = next++; i < offsets.size() && error == 0; i = next++) {
          if (!transfer(memory, offsets[i])) error = errno == 0 ? EIO : errno;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  });
  if (error != 0) {
    return absl::InternalError(absl::StrCat("O_DIRECT ", what, ": ", std::strerror(error)));
  }
  return seconds;
}

}  // namespace

absl::StatusOr<std::unique_ptr<DirectDisk>> DirectDisk::Create(const std::string& directory,
                                                               int64_t file_bytes) {
  const std::string path = absl::StrCat(directory, "/direct.dat");
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_DIRECT, 0600);
  if (fd < 0) {
    return absl::InternalError(absl::StrCat("open ", path, ": ", std::strerror(errno)));
  }
  std::unique_ptr<DirectDisk> disk(new DirectDisk(path, fd, file_bytes));
  if (const int error = posix_fallocate(fd, 0, file_bytes); error != 0) {
    return absl::ResourceExhaustedError(
        absl::StrCat("fallocate ", path, ": ", std::strerror(error)));
  }
  RETURN_IF_ERROR(disk->WriteSeconds(kFillBytes, file_bytes, 4).status());
  return disk;
}

DirectDisk::~DirectDisk() {
  close(fd_);
  unlink(path_.c_str());
}

absl::StatusOr<double> DirectDisk::ReadSeconds(int64_t block_bytes, int64_t total_bytes,
                                               int depth) {
  std::vector<int64_t> offsets;
  for (int64_t i = 0; i < total_bytes; i += block_bytes) {
    offsets.push_back(random_.Below(file_bytes_ / block_bytes) * block_bytes);
  }
  return TransferSeconds("read", block_bytes, offsets, depth, [&](char* buffer, int64_t offset) {
    return pread(fd_, buffer, block_bytes, offset) == block_bytes;
  });
}

absl::StatusOr<double> DirectDisk::WriteSeconds(int64_t block_bytes, int64_t total_bytes,
                                                int depth) {
  std::vector<int64_t> offsets;
  for (int64_t i = 0; i < total_bytes; i += block_bytes) {
    offsets.push_back(write_at_);
    write_at_ = (write_at_ + block_bytes) % file_bytes_;
  }
  ASSIGN_OR_RETURN(
      const double seconds,
      TransferSeconds("write", block_bytes, offsets, depth, [&](char* buffer, int64_t offset) {
        return pwrite(fd_, buffer, block_bytes, offset) == block_bytes;
      }));
  int failed = 0;
  const double sync_seconds = SecondsOf([&] { failed = fdatasync(fd_); });
  if (failed != 0) return absl::InternalError(absl::StrCat("fdatasync: ", std::strerror(errno)));
  return seconds + sync_seconds;
}

}  // namespace reprise::bench
