// RawSocket: a connection to a server on this machine, under what tests speak by hand. Everything
// BLOCKS, for a minute at most. Thread-compatible.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "api/listen_address.h"
#include "cachestore/base/check.h"

namespace reprise::api {

class RawSocket {
 public:
  // `receive_bytes`: of the system's buffer for what was not read yet; 0: as usual.
  explicit RawSocket(const ListenAddress& address, int receive_bytes = 0) {
    const bool is_unix = !address.unix_path.empty();
    fd_ = socket(is_unix ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd_ >= 0);
    if (receive_bytes > 0) {
      setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(receive_bytes));
    }
    const timeval minute = {.tv_sec = 60};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &minute, sizeof(minute));
    if (is_unix) {
      sockaddr_un name = {};
      name.sun_family = AF_UNIX;
      CHECK(address.unix_path.size() < sizeof(name.sun_path));
      address.unix_path.copy(name.sun_path, address.unix_path.size());
      Connect(name);
    } else {
      sockaddr_in name = {};
      name.sin_family = AF_INET;
      name.sin_port = htons(address.port);
      name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      Connect(name);
    }
  }
  ~RawSocket() { Close(); }
  RawSocket(const RawSocket&) = delete;
  RawSocket& operator=(const RawSocket&) = delete;

  void Close() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

  // False: the server has had enough; its answer, or the end of the connection, says why.
  bool Send(absl::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }
  // Nothing more is sent.
  void EndOutput() { shutdown(fd_, SHUT_WR); }
  // Whether bytes, or the end of the connection, come within `time`.
  bool AwaitBytes(absl::Duration time) {
    pollfd input = {.fd = fd_, .events = POLLIN, .revents = 0};
    return poll(&input, 1, static_cast<int>(absl::ToInt64Milliseconds(time))) > 0;
  }
  // As recv: how many bytes came, 0 at the end of the connection.
  ssize_t Receive(char* bytes, size_t size, int flags = 0) { return recv(fd_, bytes, size, flags); }

 private:
  template <typename Name>
  void Connect(const Name& name) {
    CHECK(connect(fd_, reinterpret_cast<const sockaddr*>(&name), sizeof(name)) == 0);
  }

  int fd_ = -1;
};

}  // namespace reprise::api
