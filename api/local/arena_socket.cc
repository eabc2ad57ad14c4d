#include "api/local/arena_socket.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "api/listen_address.h"
#include "cachestore/base/check.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {
namespace {

constexpr size_t kSessionIdBytes = 16;
// How long to wait when the system has no descriptor for a new connection.
constexpr absl::Duration kAcceptPause = absl::Milliseconds(100);

absl::Status Failed(absl::string_view what, const std::string& path, int error) {
  return absl::UnavailableError(
      absl::StrCat("cannot hand out the arena at ", path, ": ", what, ": ", std::strerror(error)));
}

// The process on the other side.
absl::StatusOr<ucred> PeerOf(int socket) {
  ucred peer = {};
  socklen_t length = sizeof(peer);
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) {
    return absl::PermissionDeniedError(absl::StrCat("SO_PEERCRED: ", std::strerror(errno)));
  }
  return peer;
}

// Sends one byte, and `fd` beside it.
absl::Status SendDescriptor(int socket, int fd) {
  char byte = 'a';
  iovec data = {.iov_base = &byte, .iov_len = 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &fd, sizeof(fd));
  if (sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == 1) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("sendmsg: ", std::strerror(errno)));
}

}  // namespace

// Closes what it holds.
class ArenaSocket::Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int fd() const { return fd_; }

 private:
  const int fd_;
};

struct ArenaSocket::Connection {
  explicit Connection(int fd) : socket(fd) {}

  Descriptor socket;
  ucred peer = {};
  absl::Time since = absl::Now();
  std::string session_id;                 // as far as it has come
  std::unique_ptr<SessionAnchor> anchor;  // once it is let in; gone before the socket
};

ArenaSocket::ArenaSocket(const Options& options, SessionTable* sessions)
    : options_(options), sessions_(sessions) {}

absl::StatusOr<std::unique_ptr<ArenaSocket>> ArenaSocket::Listen(const Options& options,
                                                                 const cachestore::HostArena& arena,
                                                                 SessionTable* sessions) {
  ASSIGN_OR_RETURN(const ListenAddress address,
                   ParseListenAddress(absl::StrCat("unix:", options.path)));
  RETURN_IF_ERROR(CheckFree(address));
  std::unique_ptr<ArenaSocket> arena_socket(new ArenaSocket(options, sessions));
  ASSIGN_OR_RETURN(const int read_only, arena.OpenReadOnly());
  arena_socket->readable_ = std::make_unique<Descriptor>(read_only);
  arena_socket->writable_ = std::make_unique<Descriptor>(fcntl(arena.fd(), F_DUPFD_CLOEXEC, 0));
  arena_socket->stop_ = std::make_unique<Descriptor>(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  arena_socket->listener_ =
      std::make_unique<Descriptor>(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int listener = arena_socket->listener_->fd();
  if (listener < 0 || arena_socket->stop_->fd() < 0 || arena_socket->writable_->fd() < 0) {
    return Failed("no more files", options.path, errno);
  }
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  std::memcpy(name.sun_path, options.path.c_str(), options.path.size() + 1);
  unlink(options.path.c_str());  // of a server that was killed: nobody listens there
  // The file gets the mode that the socket has, so there is no moment in which others may connect.
  if (fchmod(listener, 0600) != 0 ||
      bind(listener, reinterpret_cast<const sockaddr*>(&name), sizeof(name)) != 0 ||
      listen(listener, SOMAXCONN) != 0) {
    return Failed("bind", options.path, errno);
  }
  arena_socket->thread_ = std::thread([socket = arena_socket.get()] { socket->Run(); });
  return arena_socket;
}

ArenaSocket::~ArenaSocket() {
  if (!thread_.joinable()) return;
  const uint64_t one = 1;
  CHECK(write(stop_->fd(), &one, sizeof(one)) == sizeof(one));
  thread_.join();
  unlink(options_.path.c_str());
}

int ArenaSocket::PollTimeoutMilliseconds() const {
  absl::Time first = absl::InfiniteFuture();
  for (const auto& connection : connections_) {
    if (connection->anchor == nullptr) first = std::min(first, connection->since);
  }
  const absl::Time now = absl::Now();
  absl::Time wake = first + options_.patience;
  if (accept_from_ > now) wake = std::min(wake, accept_from_);
  if (wake == absl::InfiniteFuture()) return -1;
  const absl::Duration left = wake - now;
  return static_cast<int>(std::max<int64_t>(0, absl::ToInt64Milliseconds(left) + 1));
}

void ArenaSocket::Run() {
  while (true) {
    // poll passes over a descriptor below 0.
    const int listener = absl::Now() < accept_from_ ? -1 : listener_->fd();
    std::vector<pollfd> polled = {{stop_->fd(), POLLIN, 0}, {listener, POLLIN, 0}};
    for (const auto& connection : connections_) {
      polled.push_back({connection->socket.fd(), POLLIN, 0});
    }
    if (poll(polled.data(), polled.size(), PollTimeoutMilliseconds()) < 0) {
      CHECK(errno == EINTR || errno == ENOMEM);
      continue;
    }
    if (polled[0].revents != 0) break;
    const absl::Time too_old = absl::Now() - options_.patience;
    for (size_t i = 0; i < connections_.size(); ++i) {
      Connection& connection = *connections_[i];
      const bool is_late = connection.anchor == nullptr && connection.since < too_old;
      const bool speaks = polled[2 + i].revents != 0;
      if ((speaks && !Hear(connection)) || (!speaks && is_late)) connections_[i].reset();
    }
    std::erase(connections_, nullptr);
    if (polled[1].revents != 0) Accept();
  }
  connections_.clear();
}

void ArenaSocket::Accept() {
  auto connection = std::make_unique<Connection>(
      accept4(listener_->fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (connection->socket.fd() < 0) {
    accept_from_ = absl::Now() + kAcceptPause;
    return;
  }
  absl::Status status;
  if (const absl::StatusOr<ucred> peer = PeerOf(connection->socket.fd()); !peer.ok()) {
    status = peer.status();
  } else if (peer->uid != options_.user && peer->uid != 0) {
    status = absl::PermissionDeniedError(
        absl::StrCat("process ", peer->pid, " is of user ", peer->uid, ", not of the server's"));
  } else if (static_cast<int>(connections_.size()) >= options_.max_connections) {
    status = absl::ResourceExhaustedError(
        absl::StrCat(options_.max_connections, " clients are connected"));
  } else {
    connection->peer = *peer;
    connections_.push_back(std::move(connection));
    return;
  }
  std::cerr << "warning: the arena was not handed out: " << status.message() << std::endl;
}

bool ArenaSocket::Hear(Connection& connection) {
  char bytes[kSessionIdBytes];
  const size_t wanted = kSessionIdBytes - connection.session_id.size();
  // Once it is let in a client has nothing more to say: whatever comes ends the connection.
  const ssize_t count = recv(connection.socket.fd(), bytes, std::max<size_t>(wanted, 1), 0);
  if (count < 0) return errno == EAGAIN || errno == EINTR;
  if (count == 0 || connection.anchor != nullptr) return false;
  connection.session_id.append(bytes, static_cast<size_t>(count));
  if (connection.session_id.size() < kSessionIdBytes) return true;
  const absl::Status status = Admit(connection);
  if (!status.ok()) {
    std::cerr << "warning: the arena was not handed out to process " << connection.peer.pid << ": "
              << status.message() << std::endl;
  }
  return status.ok();
}

absl::Status ArenaSocket::Admit(Connection& connection) {
  ASSIGN_OR_RETURN(std::unique_ptr<SessionAnchor> anchor, sessions_->Anchor(connection.session_id));
  const Descriptor& file = anchor->may_write() ? *writable_ : *readable_;
  RETURN_IF_ERROR(SendDescriptor(connection.socket.fd(), file.fd()));
  connection.anchor = std::move(anchor);
  return absl::OkStatus();
}

}  // namespace reprise::api
