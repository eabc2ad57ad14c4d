// Answers a unary call with a value or an error. Pure functions, thread-safe.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <utility>

#include "absl/status/statusor.h"
#include "api/status_codec.h"

namespace reprise::api {

// From a thread of gRPC's pool.
template <typename Response>
grpc::Status Answer(absl::StatusOr<Response> result, Response* response) {
  if (!result.ok()) return ToGrpc(result.status());
  *response = *std::move(result);
  return grpc::Status::OK;
}

// From the thread that has read the request: no other is woken, but others' messages wait for this
// one, so it is for calls that never block.
template <typename Response>
grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context,
                                 absl::StatusOr<Response> result, Response* response) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  reactor->Finish(Answer(std::move(result), response));
  return reactor;
}

}  // namespace reprise::api
