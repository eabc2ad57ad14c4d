// ListenerCredentials: what one gRPC listener asks of its clients, and where calls are refused:
// before their first message is read, before there is a handler. Health checks alone need no
// credential. Over gRPC's C interface, since the C++ one can neither change certificates when told
// nor see a call's headers without a thread of its own. Thread-safe.
#pragma once

#include <grpc/grpc_security.h>
#include <grpcpp/security/server_credentials.h>

#include <memory>
#include <string>

#include "api/auth/guard.h"
#include "api/auth/running_calls.h"
#include "api/listen_address.h"
#include "api/log/call_log.h"

namespace reprise::api {

// For a server that listens on `address`: TLS where `guard` has it, but for Unix sockets. `guard`,
// `running` and `log` must outlive the server.
//
// Once `running` is closed every call ends with what it was closed with. Refused calls end with
// UNAUTHENTICATED, or RESOURCE_EXHAUSTED for a tenant that calls too often, and are written to the
// audit log and to `log` (nullptr: none). Of those the client's address is not known yet: "from" is
// the listener and what the client calls itself.
std::shared_ptr<grpc::ServerCredentials> MakeListenerCredentials(const ListenAddress& address,
                                                                 Guard* guard,
                                                                 const RunningCalls* running,
                                                                 CallLog* log);

}  // namespace reprise::api
