// CallLogInterceptor: writes a line for every call of a gRPC server, whatever its service. Behind
// CallerInterceptor, which tells it who calls. Thread-safe.
#pragma once

#include <grpcpp/support/server_interceptor.h>

#include "api/log/call_log.h"

namespace reprise::api {

class CallLogInterceptorFactory final
    : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  // `log` must outlive the server.
  explicit CallLogInterceptorFactory(CallLog* log) : log_(log) {}

  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* info) override;

 private:
  CallLog* const log_;
};

}  // namespace reprise::api
