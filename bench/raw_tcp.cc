#include "bench/raw_tcp.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"

namespace reprise::bench {
namespace {

// What the client wants: the server takes in so many bytes behind this, then sends so many.
struct Wish {
  uint64_t in = 0;
  uint64_t out = 0;
};

absl::Status Broke() {
  return absl::UnavailableError(absl::StrCat("raw TCP: ", std::strerror(errno)));
}

bool SendAll(int socket, absl::Span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

bool ReceiveAll(int socket, absl::Span<std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t received = recv(socket, bytes.data(), bytes.size(), 0);
    if (received <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(received));
  }
  return true;
}

template <typename T>
absl::Span<std::byte> BytesOf(T* value) {
  return {reinterpret_cast<std::byte*>(value), sizeof(T)};
}

}  // namespace

absl::StatusOr<std::unique_ptr<RawTcp>> RawTcp::Connect(absl::Span<std::byte> memory) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const absl::Cleanup close_listener = [listener] { close(listener); };
  sockaddr_in name = {};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(name);
  auto* address = reinterpret_cast<sockaddr*>(&name);
  if (bind(listener, address, length) != 0 || listen(listener, 1) != 0 ||
      getsockname(listener, address, &length) != 0) {
    return Broke();
  }
  const int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(client, address, length) != 0) return Broke();
  const int server = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  if (server < 0) return Broke();
  const int on = 1;
  setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  std::unique_ptr<RawTcp> tcp(new RawTcp(client, server, memory));
  tcp->thread_ = std::thread([tcp = tcp.get()] { tcp->Serve(); });
  return tcp;
}

RawTcp::~RawTcp() {
  shutdown(client_, SHUT_RDWR);
  thread_.join();
  close(client_);
  close(server_);
}

void RawTcp::Serve() {
  Wish wish;
  while (ReceiveAll(server_, BytesOf(&wish))) {
    // In and out of its memory, as much of it as is wanted, round and round.
    for (; wish.in > 0; wish.in -= std::min<uint64_t>(wish.in, memory_.size())) {
      if (!ReceiveAll(server_, memory_.subspan(0, wish.in))) return;
    }
    for (; wish.out > 0; wish.out -= std::min<uint64_t>(wish.out, memory_.size())) {
      if (!SendAll(server_, memory_.subspan(0, wish.out))) return;
    }
  }
}

absl::Status RawTcp::Command(uint64_t in, uint64_t out) {
  Wish wish = {in, out};
  return SendAll(client_, BytesOf(&wish)) ? absl::OkStatus() : Broke();
}

absl::Status RawTcp::Get(absl::Span<std::byte> to) {
  RETURN_IF_ERROR(Command(0, to.size()));
  return ReceiveAll(client_, to) ? absl::OkStatus() : Broke();
}

absl::Status RawTcp::Put(absl::Span<const std::byte> from) {
  RETURN_IF_ERROR(Command(from.size(), 1));
  std::byte done{};
  return SendAll(client_, from) && ReceiveAll(client_, BytesOf(&done)) ? absl::OkStatus() : Broke();
}

absl::Status RawTcp::RoundTrip(size_t request_bytes, size_t response_bytes) {
  // In one send, as a program would.
  std::vector<std::byte> request(sizeof(Wish) + request_bytes);
  const Wish wish = {request_bytes, response_bytes};
  std::memcpy(request.data(), &wish, sizeof(wish));
  std::vector<std::byte> response(response_bytes);
  return SendAll(client_, request) && ReceiveAll(client_, absl::MakeSpan(response))
             ? absl::OkStatus()
             : Broke();
}

}  // namespace reprise::bench
