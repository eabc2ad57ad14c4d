#include "api/server.h"

#include <gmock/gmock.h>
#include <grpcpp/impl/client_unary_call.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/sync_stream.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/api/test_server.h"

namespace reprise::api {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

grpc::ByteBuffer Bytes(const std::string& bytes) {
  const grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

std::string Text(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  EXPECT_TRUE(buffer.Dump(&slices).ok());
  std::string text;
  for (const grpc::Slice& slice : slices) text.append(slice.begin(), slice.end());
  return text;
}

// grpc.health.v1.Health.Check, its messages written by hand: HealthCheckRequest{service = 1} and
// HealthCheckResponse{status = 1}. 0: the call failed.
int ServingStatus(const std::shared_ptr<grpc::Channel>& channel, const std::string& service,
                  grpc::Status* status) {
  const grpc::internal::RpcMethod method("/grpc.health.v1.Health/Check",
                                         grpc::internal::RpcMethod::NORMAL_RPC);
  grpc::ClientContext context;
  SetTimeout(kTestTimeout, &context);
  grpc::ByteBuffer response;
  const std::string request = std::string("\x0a") + static_cast<char>(service.size()) + service;
  *status = grpc::internal::BlockingUnaryCall<grpc::ByteBuffer, grpc::ByteBuffer>(
      channel.get(), method, &context, Bytes(request), &response);
  if (!status->ok()) return 0;
  const std::string text = Text(response);
  return text.size() == 2 ? text[1] : 0;
}

constexpr int kServing = 1;
constexpr int kNotServing = 2;

TEST(ServerTest, HealthIsServingForTheServerAndEachService) {
  const TestServer server(TestServer::Options{});
  const auto channel = ConnectTo(server.address());
  grpc::Status status;
  EXPECT_EQ(ServingStatus(channel, "", &status), kServing);
  EXPECT_EQ(ServingStatus(channel, "reprise.v1.Cache", &status), kServing);
  EXPECT_EQ(ServingStatus(channel, "reprise.v1.Inference", &status), kServing);
  EXPECT_EQ(ServingStatus(channel, "no.such.Service", &status), 0);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST(ServerTest, HealthOfInferenceIsNotServingWithoutAModel) {
  const TestServer server({.max_positions = 0});
  const auto channel = ConnectTo(server.address());
  grpc::Status status;
  EXPECT_EQ(ServingStatus(channel, "reprise.v1.Cache", &status), kServing);
  EXPECT_EQ(ServingStatus(channel, "reprise.v1.Inference", &status), kNotServing);
}

TEST(ServerTest, ReflectionListsTheServices) {
  const TestServer server({.max_positions = 0});
  const auto channel = ConnectTo(server.address());
  const grpc::internal::RpcMethod method(
      "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
      grpc::internal::RpcMethod::BIDI_STREAMING);
  grpc::ClientContext context;
  SetTimeout(kTestTimeout, &context);
  const std::unique_ptr<grpc::ClientReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>> call(
      grpc::internal::ClientReaderWriterFactory<grpc::ByteBuffer, grpc::ByteBuffer>::Create(
          channel.get(), method, &context));
  // ServerReflectionRequest{list_services = 7: ""}
  ASSERT_TRUE(call->Write(Bytes(std::string("\x3a\x00", 2))));
  grpc::ByteBuffer response;
  ASSERT_TRUE(call->Read(&response));
  EXPECT_THAT(Text(response),
              AllOf(HasSubstr("reprise.v1.Cache"), HasSubstr("reprise.v1.Inference"),
                    HasSubstr("grpc.health.v1.Health")));
  call->WritesDone();
  EXPECT_TRUE(call->Finish().ok());
}

TEST(ServerTest, APortOfTheSystemsChoiceIsReported) {
  TestServer owner({.max_positions = 0});
  ServedParts parts;
  parts.store = &owner.store();
  const auto listen = ParseListenAddress("127.0.0.1:0");
  const auto server = Server::Start(*listen, parts);
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_NE((*server)->address().port, 0);
  CacheClient client((*server)->address().ToString());
  EXPECT_TRUE(client.Stats(kTestTimeout).ok());
  // The same port is not shared with a second server.
  const auto second = Server::Start((*server)->address(), parts);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr((*server)->address().ToString()));
}

TEST(ServerTest, AfterShutdownNobodyAnswers) {
  TestServer server({.max_positions = 0});
  CacheClient client = server.cache();
  EXPECT_TRUE(client.Stats(kTestTimeout).ok());
  server.server().Shutdown(absl::Now());
  EXPECT_EQ(client.Stats(kTestTimeout).status().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace reprise::api
