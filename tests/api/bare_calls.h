// Calls of every method there is, without the messages that belong to it.
#pragma once

#include <google/protobuf/descriptor.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/client_unary_call.h>
#include <grpcpp/support/byte_buffer.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "reprise/v1/admin.pb.h"
#include "reprise/v1/cache.pb.h"
#include "reprise/v1/inference.pb.h"
#include "tests/api/test_server.h"

namespace reprise::api {

// The methods of a file's services, as paths.
inline std::vector<std::string> MethodsOf(const google::protobuf::FileDescriptor& file) {
  std::vector<std::string> paths;
  for (int s = 0; s < file.service_count(); ++s) {
    for (int m = 0; m < file.service(s)->method_count(); ++m) {
      paths.push_back("/" + file.service(s)->full_name() + "/" +
                      file.service(s)->method(m)->name());
    }
  }
  return paths;
}
// Of the services for all, and of the one for operators.
inline std::vector<std::string> AllMethods() {
  std::vector<std::string> paths = MethodsOf(*v1::GetRequest::descriptor()->file());
  for (std::string& path : MethodsOf(*v1::GenerateRequest::descriptor()->file())) {
    paths.push_back(std::move(path));
  }
  return paths;
}
inline std::vector<std::string> OperatorsMethods() {
  return MethodsOf(*v1::ReloadRequest::descriptor()->file());
}

// Calls a method with an empty message, as a unary one.
inline grpc::Status CallBare(const std::shared_ptr<grpc::Channel>& channel, const std::string& path,
                             absl::Duration timeout = kTestTimeout) {
  const grpc::internal::RpcMethod method(path.c_str(), grpc::internal::RpcMethod::NORMAL_RPC);
  grpc::ClientContext context;
  SetTimeout(timeout, &context);
  const grpc::Slice nothing("");
  grpc::ByteBuffer response;
  return grpc::internal::BlockingUnaryCall<grpc::ByteBuffer, grpc::ByteBuffer>(
      channel.get(), method, &context, grpc::ByteBuffer(&nothing, 1), &response);
}

}  // namespace reprise::api
