#include "api/listen_address.h"

#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace reprise::api {
namespace {

absl::Status CannotListen(const ListenAddress& address, absl::string_view reason) {
  return absl::UnavailableError(
      absl::StrCat("cannot listen on ", address.ToString(), ": ", reason));
}

absl::Status CheckUnixPathFree(const ListenAddress& address) {
  struct stat info;
  if (lstat(address.unix_path.c_str(), &info) != 0) {
    return errno == ENOENT ? absl::OkStatus() : CannotListen(address, std::strerror(errno));
  }
  if (!S_ISSOCK(info.st_mode)) return CannotListen(address, "the file exists and is not a socket");
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return CannotListen(address, std::strerror(errno));
  const absl::Cleanup closer = [fd] { close(fd); };
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  std::memcpy(name.sun_path, address.unix_path.c_str(), address.unix_path.size() + 1);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&name), sizeof(name)) == 0) {
    return CannotListen(address, "another process listens on this socket");
  }
  return errno == ECONNREFUSED ? absl::OkStatus() : CannotListen(address, std::strerror(errno));
}

absl::Status CheckTcpFree(const ListenAddress& address) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const std::string port = absl::StrCat(address.port);
  if (const int error = getaddrinfo(address.host.c_str(), port.c_str(), &hints, &found);
      error != 0) {
    return CannotListen(address, gai_strerror(error));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, &freeaddrinfo);
  return CheckResolvedFree(address, found);
}

// The error number of listening on `info`; 0 when that is possible.
int TryListen(const addrinfo& info) {
  const int fd = socket(info.ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  const absl::Cleanup closer = [fd] { close(fd); };
  const int on = 1;
  // Connections of an earlier server that linger in TIME_WAIT do not count, as for gRPC itself.
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  return bind(fd, info.ai_addr, info.ai_addrlen) == 0 && listen(fd, 1) == 0 ? 0 : errno;
}

}  // namespace

std::string ListenAddress::ToString() const {
  if (!unix_path.empty()) return absl::StrCat("unix:", unix_path);
  if (absl::StrContains(host, ':')) return absl::StrCat("[", host, "]:", port);
  return absl::StrCat(host, ":", port);
}

bool ListenAddress::IsLocal() const {
  if (!unix_path.empty() || host == "::1" || host == "localhost") return true;
  // Only digits and dots behind "127.": a host name may start like that as well.
  return absl::StartsWith(host, "127.") &&
         host.find_first_not_of("0123456789.") == std::string::npos;
}

absl::Status CheckResolvedFree(const ListenAddress& address, const addrinfo* resolved) {
  int absent = 0;  // why an address that this machine does not have cannot be listened on
  bool any_free = false;
  for (const addrinfo* info = resolved; info != nullptr; info = info->ai_next) {
    const int error = TryListen(*info);
    if (error == 0) {
      any_free = true;
    } else if (error == EADDRNOTAVAIL || error == EAFNOSUPPORT) {
      absent = error;
    } else {
      return CannotListen(address, std::strerror(error));
    }
  }
  return any_free ? absl::OkStatus() : CannotListen(address, std::strerror(absent));
}

absl::StatusOr<ListenAddress> ParseListenAddress(absl::string_view text) {
  ListenAddress address;
  absl::string_view rest = text;
  if (absl::ConsumePrefix(&rest, "unix:")) {
    if (rest.empty()) {
      return absl::InvalidArgumentError("address \"unix:\" lacks the socket's path");
    }
    if (rest.size() >= sizeof(sockaddr_un::sun_path)) {
      return absl::InvalidArgumentError(
          absl::StrCat("the path of a Unix socket is at most ", sizeof(sockaddr_un::sun_path) - 1,
                       " bytes long; this one is ", rest.size(), ": ", rest));
    }
    address.unix_path = std::string(rest);
    return address;
  }
  const size_t colon = text.rfind(':');
  uint32_t port = 0;
  // A slash is that of a URL, "http://host:1", or of a socket's path without "unix:".
  if (colon == absl::string_view::npos || colon == 0 || absl::StrContains(text, '/') ||
      !absl::SimpleAtoi(text.substr(colon + 1), &port) || port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("address \"", text, "\" is not HOST:PORT or unix:/path"));
  }
  absl::string_view host = text.substr(0, colon);
  const bool bracketed = absl::ConsumePrefix(&host, "[") && absl::ConsumeSuffix(&host, "]");
  if (host.empty() || (!bracketed && absl::StrContains(host, ':'))) {
    return absl::InvalidArgumentError(
        absl::StrCat("address \"", text, "\": an IPv6 address is written [ADDRESS]:PORT"));
  }
  address.host = std::string(host);
  address.port = static_cast<uint16_t>(port);
  return address;
}

absl::Status CheckFree(const ListenAddress& address) {
  if (!address.unix_path.empty()) return CheckUnixPathFree(address);
  // Any free port is free.
  if (address.port == 0) return absl::OkStatus();
  return CheckTcpFree(address);
}

}  // namespace reprise::api
