// Ends a call from outside of its handler, with a status that the client is told, and the log.
#pragma once

#include <grpcpp/server_context.h>

namespace reprise::api {

// As ServerContext::TryCancel, whose status is always CANCELLED. What the handler returns later is
// not sent any more. Thread-safe.
void EndCall(grpc::ServerContextBase* context, const grpc::Status& status);

}  // namespace reprise::api
