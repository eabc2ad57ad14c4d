#include "cachestore/memory/host_arena.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <limits>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace reprise::cachestore {
namespace {

constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();

// The number in a one-line file such as memory.max; kUnlimited for "max" or when there is none.
int64_t ReadNumber(const char* path) {
  std::ifstream in(path);
  std::string word;
  int64_t value = 0;
  return in >> word && absl::SimpleAtoi(word, &value) ? value : kUnlimited;
}

int64_t AvailableInMachine() {
  std::ifstream in("/proc/meminfo");
  std::string name;
  int64_t kibibytes = 0;
  std::string unit;
  while (in >> name >> kibibytes) {
    std::getline(in, unit);
    if (name == "MemAvailable:") return kibibytes * 1024;
  }
  return kUnlimited;
}

int64_t AvailableInCgroup() {
  const int64_t limit = ReadNumber("/sys/fs/cgroup/memory.max");
  if (limit == kUnlimited) return kUnlimited;
  const int64_t used = ReadNumber("/sys/fs/cgroup/memory.current");
  return used == kUnlimited ? limit : std::max<int64_t>(0, limit - used);
}

absl::Status Failed(absl::string_view what, int64_t bytes, int error) {
  return absl::ResourceExhaustedError(
      absl::StrCat("cannot reserve ", bytes, " bytes of RAM: ", what, ": ", std::strerror(error)));
}

// Allocates the file's memory in pieces, because an interrupted fallocate gives everything back.
int AllocatePages(int fd, int64_t size) {
  constexpr int64_t kPiece = int64_t{64} << 20;
  for (int64_t begin = 0; begin < size;) {
    const int64_t length = std::min(kPiece, size - begin);
    if (fallocate(fd, 0, begin, length) == 0) {
      begin += length;
    } else if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

}  // namespace

absl::StatusOr<std::unique_ptr<HostArena>> HostArena::Reserve(int64_t bytes) {
  const int64_t size = bytes / static_cast<int64_t>(kAlignment) * static_cast<int64_t>(kAlignment);
  if (size <= 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("RAM budget is ", bytes, " bytes; at least ", kAlignment, " are needed"));
  }
  // Beyond this, the kernel would kill a process instead of refusing the allocation.
  const int64_t available = std::min(AvailableInMachine(), AvailableInCgroup());
  if (size > available) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "cannot reserve ", size, " bytes of RAM: only ", available, " bytes are available"));
  }
  const int fd = memfd_create("reprise-ram", MFD_CLOEXEC);
  if (fd < 0) return Failed("memfd_create", size, errno);
  if (ftruncate(fd, size) != 0) {
    const int error = errno;
    close(fd);
    return Failed("ftruncate", size, error);
  }
  void* data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (data == MAP_FAILED) {
    const int error = errno;
    close(fd);
    return Failed("mmap", size, error);
  }
  // Only a wish: without huge pages for shared memory the arena works with small ones.
  (void)madvise(data, size, MADV_HUGEPAGE);
  if (const int error = AllocatePages(fd, size); error != 0) {
    munmap(data, size);
    close(fd);
    return Failed("fallocate", size, error);
  }
  return std::unique_ptr<HostArena>(
      new HostArena(fd, static_cast<std::byte*>(data), static_cast<size_t>(size)));
}

HostArena::~HostArena() {
  munmap(data_, size_);
  close(fd_);
}

}  // namespace reprise::cachestore
