// Ends calls from outside of their handlers, with a status that the client is told, and the log.
#pragma once

#include <grpcpp/server_context.h>

#include "api/auth/guard.h"

namespace reprise::api {

// As ServerContext::TryCancel, whose status is always CANCELLED. What the handler returns later is
// not sent any more. Thread-safe.
void EndCall(grpc::ServerContextBase* context, const grpc::Status& status);
// The same for all calls that have come in by the listeners of `guard` and are not over, but for
// health checks.
void EndCalls(const Guard* guard, const grpc::Status& status);

}  // namespace reprise::api
