// HostArena: one contiguous extent of host memory, reserved once at start, that holds every RAM
// block. It owns an anonymous memfd and its shared mapping, so that the same bytes can be mapped by
// a client on this host. The file's size is sealed: no one who has it can make a mapping fault.
//
// The memory is allocated for real before Reserve returns: running out of it is an error at start
// and not a SIGBUS under load. It lies in huge pages as far as there are any: those the system has
// reserved (vm.nr_hugepages) if they suffice, else pages collapsed at start. Direct I/O of 2 MiB
// into them is about twice as fast, because a request to a disk holds a limited number of pieces.
// Immutable after Reserve; thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace reprise::cachestore {

class HostArena {
 public:
  // Start and size of an arena are multiples of this; so is every slot in it.
  static constexpr size_t kAlignment = 4096;

  // Reserves `bytes`, rounded down to kAlignment, zeroed. BLOCKS while pages are allocated.
  // kInvalidArgument: less than kAlignment; kResourceExhausted: the machine or the memory cgroup
  // has less memory available (both values are named).
  static absl::StatusOr<std::unique_ptr<HostArena>> Reserve(int64_t bytes);

  ~HostArena();
  HostArena(const HostArena&) = delete;
  HostArena& operator=(const HostArena&) = delete;

  absl::Span<std::byte> bytes() const { return {data_, size_}; }
  // How much of it lies in huge pages.
  int64_t huge_page_bytes() const { return huge_page_bytes_; }
  // The memfd behind the mapping; owned by the arena. Whoever gets it may write every block.
  int fd() const { return fd_; }
  // A new description of the same file through which nothing can be written or mapped to be
  // written. The caller closes it. kInternal: /proc is not there, or the process has too many
  // files.
  absl::StatusOr<int> OpenReadOnly() const;

 private:
  enum class PageKind { kReservedHuge, kOrdinary };

  HostArena(int fd, std::byte* data, size_t size, int64_t huge_page_bytes)
      : fd_(fd), data_(data), size_(size), huge_page_bytes_(huge_page_bytes) {}

  // REQUIRES: size is a multiple of kAlignment, for kReservedHuge of the huge page size.
  static absl::StatusOr<std::unique_ptr<HostArena>> Map(int64_t size, PageKind kind);

  const int fd_;
  std::byte* const data_;
  const size_t size_;
  const int64_t huge_page_bytes_;
};

}  // namespace reprise::cachestore
