#include "api/client/mapped_arena.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "cachestore/base/hash.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {
namespace {

absl::Status Failed(absl::string_view what, const std::string& path) {
  return absl::UnavailableError(absl::StrCat("cannot get the server's memory from ", path, ": ",
                                             what, ": ", std::strerror(errno)));
}

// A connection to the socket at `path`.
absl::StatusOr<int> Connect(const std::string& path, absl::Duration timeout) {
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(name.sun_path)) {
    return absl::UnavailableError(absl::StrCat("\"", path, "\" is no path of a Unix socket"));
  }
  std::memcpy(name.sun_path, path.c_str(), path.size() + 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return Failed("socket", path);
  absl::Cleanup closer = [fd] { close(fd); };
  const timeval patience =
      absl::ToTimeval(timeout == absl::InfiniteDuration() ? absl::ZeroDuration() : timeout);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
  if (connect(fd, reinterpret_cast<const sockaddr*>(&name), sizeof(name)) != 0) {
    return Failed("connect", path);
  }
  std::move(closer).Cancel();
  return fd;
}

// The file that the server sends; -1: it sends none.
int ReceiveDescriptor(int socket) {
  char byte = 0;
  iovec data = {.iov_base = &byte, .iov_len = 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != 1) return -1;
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_type != SCM_RIGHTS) return -1;
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(header), sizeof(fd));
  return fd;
}

// Maps `size` bytes of `fd` at a multiple of the size of huge pages: what of the file is in such
// pages is then mapped by them, with a fault and an entry of the processor's tables for 2 MiB
// instead of 512. MAP_FAILED as mmap.
void* MapAligned(size_t size, int protection, int fd) {
  constexpr size_t kHugePageBytes = size_t{2} << 20;
  const size_t reserved = size + kHugePageBytes;
  void* const room = mmap(nullptr, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (room == MAP_FAILED) return MAP_FAILED;
  auto* const begin = static_cast<std::byte*>(room);
  std::byte* const place = begin + -reinterpret_cast<uintptr_t>(begin) % kHugePageBytes;
  void* const mapped = mmap(place, size, protection, MAP_SHARED | MAP_FIXED, fd, 0);
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  std::byte* const end = place + (size + page - 1) / page * page;
  if (place != begin) munmap(begin, static_cast<size_t>(place - begin));
  if (end != begin + reserved) munmap(end, static_cast<size_t>(begin + reserved - end));
  if (mapped == MAP_FAILED) munmap(place, size);
  return mapped;
}

}  // namespace

absl::StatusOr<std::unique_ptr<MappedArena>> MappedArena::Map(absl::string_view session_id,
                                                              const v1::SharedMemory& where,
                                                              absl::Duration timeout) {
  ASSIGN_OR_RETURN(const int connection, Connect(where.socket_path(), timeout));
  absl::Cleanup hang_up = [connection] { close(connection); };
  // A server that has hung up already has refused.
  if (send(connection, session_id.data(), session_id.size(), MSG_NOSIGNAL) < 0 && errno != EPIPE) {
    return Failed("send", where.socket_path());
  }
  const int fd = ReceiveDescriptor(connection);
  if (fd < 0) {
    return absl::PermissionDeniedError(
        absl::StrCat("the server does not hand out its memory at ", where.socket_path(),
                     ": the session has ended, or this user may not see it"));
  }
  const absl::Cleanup close_fd = [fd] { close(fd); };
  struct stat info = {};
  const size_t size = static_cast<size_t>(where.arena_bytes());
  if (fstat(fd, &info) != 0 || where.arena_bytes() <= 0 || info.st_size < where.arena_bytes() ||
      (fcntl(fd, F_GET_SEALS) & F_SEAL_SHRINK) == 0) {
    return absl::DataLossError(absl::StrCat("the server's memory is not a file of ",
                                            where.arena_bytes(), " bytes for good"));
  }
  void* const readable = MapAligned(size, PROT_READ, fd);
  if (readable == MAP_FAILED) return Failed("mmap", where.socket_path());
  std::byte* writable = nullptr;
  if ((fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR) {
    void* const place = MapAligned(size, PROT_READ | PROT_WRITE, fd);
    if (place == MAP_FAILED) {
      munmap(readable, size);
      return Failed("mmap", where.socket_path());
    }
    writable = static_cast<std::byte*>(place);
  }
  std::move(hang_up).Cancel();
  return std::unique_ptr<MappedArena>(
      new MappedArena(connection, static_cast<const std::byte*>(readable), writable, size));
}

MappedArena::~MappedArena() {
  munmap(const_cast<std::byte*>(readable_), size_);
  if (writable_ != nullptr) munmap(writable_, size_);
  close(connection_);  // last: nothing can be seen any more
}

absl::Status MappedArena::CheckPlace(int64_t offset, int64_t block_bytes) const {
  const int64_t size = static_cast<int64_t>(size_);
  if (offset >= 0 && block_bytes >= 0 && offset <= size && block_bytes <= size - offset) {
    return absl::OkStatus();
  }
  return absl::DataLossError(absl::StrCat("the server names ", block_bytes, " bytes at ", offset,
                                          " of an arena of ", size));
}

absl::StatusOr<absl::Span<const std::byte>> MappedArena::Block(const v1::SlotPlace& place,
                                                               int64_t block_bytes) const {
  RETURN_IF_ERROR(CheckPlace(place.offset(), block_bytes));
  return absl::MakeConstSpan(readable_ + place.offset(), static_cast<size_t>(block_bytes));
}

absl::StatusOr<absl::Span<const std::byte>> MappedArena::VerifiedBlock(const v1::SlotPlace& place,
                                                                       int64_t block_bytes) const {
  ASSIGN_OR_RETURN(const absl::Span<const std::byte> bytes, Block(place, block_bytes));
  if (place.has_payload_xxh3() && cachestore::HashBytes64(bytes) != place.payload_xxh3()) {
    return absl::DataLossError(
        absl::StrCat("the block at ", place.offset(), " does not match its checksum"));
  }
  return bytes;
}

absl::StatusOr<uint64_t> MappedArena::Fill(const v1::GrantedSlot& slot, int64_t block_bytes,
                                           absl::Span<const std::byte> block) const {
  if (static_cast<int64_t>(block.size()) != block_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the block has ", block.size(), " bytes; one of this namespace has ", block_bytes));
  }
  ASSIGN_OR_RETURN(const absl::Span<std::byte> to, Slot(slot, block_bytes));
  return cachestore::CopyAndHash64(block, to.data());
}

absl::StatusOr<absl::Span<std::byte>> MappedArena::Slot(const v1::GrantedSlot& slot,
                                                        int64_t block_bytes) const {
  RETURN_IF_ERROR(CheckPlace(slot.offset(), block_bytes));
  if (!is_writable()) {
    return absl::FailedPreconditionError("the session was opened without write_shared_memory");
  }
  return absl::MakeSpan(writable_ + slot.offset(), static_cast<size_t>(block_bytes));
}

}  // namespace reprise::api
