// The other end of a gRPC connection. Pure functions.
#pragma once

#include <grpc/grpc_security.h>

#include <string>

#include "api/auth/guard.h"
#include "api/listen_address.h"

namespace reprise::api {

// The other end of `connection`, which came over `listener`. `address` is for the audit log.
Peer PeerOf(const ListenAddress& listener, std::string address,
            const grpc_auth_context* connection);

// The token of an authorization header, "Bearer TOKEN"; empty when it is of another kind.
absl::string_view BearerToken(absl::string_view header);

}  // namespace reprise::api
