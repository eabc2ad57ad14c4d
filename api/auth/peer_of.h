// The other end of a gRPC connection. Pure functions.
#pragma once

#include <grpc/grpc_security.h>

#include <string>

#include "api/auth/guard.h"

namespace reprise::api {

// What `connection` says of itself: whether it is private, and the names in the certificate that it
// has verified. `address` begins with "unix:" for a Unix socket.
Peer PeerOf(std::string address, const grpc_auth_context* connection);

// The token of an authorization header, "Bearer TOKEN"; empty when it is of another kind.
absl::string_view BearerToken(absl::string_view header);

}  // namespace reprise::api
