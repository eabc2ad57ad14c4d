#include "cachestore/memory/host_arena.h"

#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "cachestore/memory/available_memory.h"

namespace reprise::cachestore {
namespace {

constexpr int64_t kHugePageBytes = int64_t{2} << 20;
constexpr unsigned kHugeMemfd = MFD_HUGETLB | (21u << MFD_HUGE_SHIFT);  // of 2^21 bytes
#ifndef MADV_COLLAPSE
constexpr int MADV_COLLAPSE = 25;  // since Linux 6.1; the headers may be older than the kernel
#endif

absl::Status Failed(absl::string_view what, int64_t bytes, int error) {
  return absl::ResourceExhaustedError(
      absl::StrCat("cannot reserve ", bytes, " bytes of RAM: ", what, ": ", std::strerror(error)));
}

// The memory of [begin, begin + length) of the file; errno or 0. In pieces, because an interrupted
// fallocate gives everything back.
int AllocatePages(int fd, int64_t begin, int64_t length) {
  constexpr int64_t kPiece = int64_t{64} << 20;
  for (const int64_t end = begin + length; begin < end;) {
    const int64_t piece = std::min(kPiece, end - begin);
    if (fallocate(fd, 0, begin, piece) == 0) {
      begin += piece;
    } else if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

// Makes huge pages of the mapping of `fd` at `data` as far as possible; returns the bytes in them.
// The kernel collapses what is around one small page into a huge one whether or not it was set up
// to use huge pages for shared memory by itself, which by default it is not.
int64_t CollapsePages(int fd, std::byte* data, int64_t size) {
  int64_t huge_bytes = 0;
  for (int64_t begin = 0; begin + kHugePageBytes <= size; begin += kHugePageBytes) {
    const bool seeded = fallocate(fd, 0, begin, HostArena::kAlignment) == 0;
    if (seeded && madvise(data + begin, kHugePageBytes, MADV_COLLAPSE) == 0) {
      huge_bytes += kHugePageBytes;
    } else if (huge_bytes == 0) {
      break;  // a kernel that cannot; otherwise one place had no huge page left
    }
  }
  return huge_bytes;
}

// Maps `size` bytes of `fd` at a multiple of the huge page size; MAP_FAILED as mmap.
void* MapAligned(int fd, int64_t size) {
  const size_t reserved = static_cast<size_t>(size + kHugePageBytes);
  void* place =
      mmap(nullptr, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (place == MAP_FAILED) return MAP_FAILED;
  auto* begin = static_cast<std::byte*>(place);
  const size_t before = -reinterpret_cast<uintptr_t>(begin) % kHugePageBytes;
  if (before > 0) munmap(begin, before);
  munmap(begin + before + size, reserved - before - size);  // at least one page
  void* data = mmap(begin + before, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
  if (data == MAP_FAILED) munmap(begin + before, size);
  return data;
}

}  // namespace

absl::StatusOr<std::unique_ptr<HostArena>> HostArena::Reserve(int64_t bytes) {
  const int64_t size = bytes / static_cast<int64_t>(kAlignment) * static_cast<int64_t>(kAlignment);
  if (size <= 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("RAM budget is ", bytes, " bytes; at least ", kAlignment, " are needed"));
  }
  if (size % kHugePageBytes == 0) {
    absl::StatusOr<std::unique_ptr<HostArena>> reserved = Map(size, PageKind::kReservedHuge);
    if (reserved.ok()) return reserved;
  }
  // Beyond this, the kernel would kill a process instead of refusing the allocation.
  const int64_t available = AvailableMemoryBytes();
  if (size > available) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "cannot reserve ", size, " bytes of RAM: only ", available, " bytes are available"));
  }
  return Map(size, PageKind::kOrdinary);
}

absl::StatusOr<std::unique_ptr<HostArena>> HostArena::Map(int64_t size, PageKind kind) {
  const bool reserved_huge = kind == PageKind::kReservedHuge;
  const int fd = memfd_create("reprise-ram",
                              MFD_CLOEXEC | MFD_ALLOW_SEALING | (reserved_huge ? kHugeMemfd : 0u));
  if (fd < 0) return Failed("memfd_create", size, errno);
  absl::Cleanup close_fd = [fd] { close(fd); };
  // Of whoever is handed it, only this user's processes may open it anew to write.
  if (fchmod(fd, S_IRUSR | S_IWUSR) != 0) return Failed("fchmod", size, errno);
  if (ftruncate(fd, size) != 0) return Failed("ftruncate", size, errno);
  void* data = MapAligned(fd, size);
  if (data == MAP_FAILED) return Failed("mmap", size, errno);
  absl::Cleanup unmap = [data, size] { munmap(data, size); };
  const int64_t huge_bytes =
      reserved_huge ? size : CollapsePages(fd, static_cast<std::byte*>(data), size);
  if (const int error = AllocatePages(fd, 0, size); error != 0) {
    return Failed("fallocate", size, error);
  }
  // And no further seals: nobody shall forbid others to write.
  if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return Failed("F_ADD_SEALS", size, errno);
  }
  std::move(unmap).Cancel();
  std::move(close_fd).Cancel();
  return std::unique_ptr<HostArena>(
      new HostArena(fd, static_cast<std::byte*>(data), static_cast<size_t>(size), huge_bytes));
}

absl::StatusOr<int> HostArena::OpenReadOnly() const {
  const std::string path = absl::StrCat("/proc/self/fd/", fd_);
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return absl::InternalError(absl::StrCat("cannot open ", path, ": ", std::strerror(errno)));
  }
  return fd;
}

HostArena::~HostArena() {
  munmap(data_, size_);
  close(fd_);
}

}  // namespace reprise::cachestore
