// ReflectionLimit: ends calls of the reflection service whose client is silent. gRPC's handler of
// it holds a thread, one of those that Cache calls need, for as long as its client takes.
// Thread-safe.
#pragma once

#include <grpcpp/support/server_interceptor.h>

#include "absl/time/time.h"

namespace reprise::api {

// Makes the interceptors of a server.
class ReflectionLimitFactory final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  // A call ends when its client has sent nothing for `max_silence`.
  explicit ReflectionLimitFactory(absl::Duration max_silence) : max_silence_(max_silence) {}

  // nullptr for calls of all other services.
  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* info) override;

 private:
  const absl::Duration max_silence_;
};

}  // namespace reprise::api
