// ListenAddress: where a server listens, as --listen gives it. Plain data.
#pragma once

#include <netdb.h>

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace reprise::api {

struct ListenAddress {
  std::string host;       // name or address without brackets; empty for a Unix socket
  uint16_t port = 0;      // 0: any free port
  std::string unix_path;  // empty for TCP

  // As gRPC takes it: "127.0.0.1:50051", "[::1]:50051", "unix:/path".
  std::string ToString() const;
  // True when only this machine can connect: a Unix socket, 127.0.0.0/8, ::1 or localhost.
  bool IsLocal() const;
};

// Parses "HOST:PORT", "[IPV6]:PORT" or "unix:/path". kInvalidArgument names what is wrong.
absl::StatusOr<ListenAddress> ParseListenAddress(absl::string_view text);

// kUnavailable when `address` is taken or cannot be listened on, with the system's reason. A Unix
// socket that no process listens on any more does not count as taken. BLOCKS to resolve a host
// name.
absl::Status CheckFree(const ListenAddress& address);

// CheckFree of a TCP address whose host has been resolved to the list `resolved`. An address that
// this machine does not have (::1 of localhost, where IPv6 is off) counts only when it is the last
// hope.
absl::Status CheckResolvedFree(const ListenAddress& address, const addrinfo* resolved);

}  // namespace reprise::api
