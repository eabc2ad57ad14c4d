#include "api/server.h"

#include <gmock/gmock.h>
#include <grpcpp/impl/client_unary_call.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/sync_stream.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/cleanup/cleanup.h"
#include "absl/time/clock.h"
#include "api/limits.h"
#include "cachestore/base/hash.h"
#include "tests/api/log_file.h"
#include "tests/api/raw_http2.h"
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

// grpc.reflection.v1alpha.ServerReflection.ServerReflectionInfo.
std::unique_ptr<grpc::ClientReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>> Reflect(
    grpc::Channel* channel, grpc::ClientContext* context) {
  const grpc::internal::RpcMethod method(
      "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
      grpc::internal::RpcMethod::BIDI_STREAMING);
  SetTimeout(kTestTimeout, context);
  return std::unique_ptr<grpc::ClientReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>>(
      grpc::internal::ClientReaderWriterFactory<grpc::ByteBuffer, grpc::ByteBuffer>::Create(
          channel, method, context));
}

TEST(ServerTest, ReflectionListsTheServices) {
  const TestServer server({.max_positions = 0});
  const auto channel = ConnectTo(server.address());
  grpc::ClientContext context;
  const auto call = Reflect(channel.get(), &context);
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

// The value of setting `id` in the SETTINGS frame that the server opens a connection with; nullopt
// when it is not there. The client's preface and its own, empty, SETTINGS are sent by hand.
std::optional<uint32_t> ServerSetting(const std::string& socket_path, uint16_t id) {
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  const absl::Cleanup closer = [fd] { close(fd); };
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  std::strcpy(name.sun_path, socket_path.c_str());
  EXPECT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&name), sizeof(name)), 0);
  const std::string hello =
      std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") + std::string("\0\0\0\4\0\0\0\0\0", 9);
  EXPECT_EQ(write(fd, hello.data(), hello.size()), static_cast<ssize_t>(hello.size()));
  uint8_t frame[9];  // 24 bits of length, type, flags, stream
  EXPECT_EQ(recv(fd, frame, sizeof(frame), MSG_WAITALL), static_cast<ssize_t>(sizeof(frame)));
  EXPECT_EQ(frame[3], 4) << "not SETTINGS";
  for (int left = frame[1] << 8 | frame[2]; left >= 6; left -= 6) {
    uint8_t setting[6];
    EXPECT_EQ(recv(fd, setting, sizeof(setting), MSG_WAITALL), 6);
    if ((setting[0] << 8 | setting[1]) != id) continue;
    return uint32_t{setting[2]} << 24 | setting[3] << 16 | setting[4] << 8 | setting[5];
  }
  return std::nullopt;
}

TEST(ServerTest, AConnectionMayCarrySoManyCalls) {
  const TestServer server({.max_positions = 0});
  constexpr uint16_t kMaxConcurrentStreams = 3;
  EXPECT_EQ(ServerSetting(server.folder() / "socket", kMaxConcurrentStreams),
            uint32_t{kMaxStreamsPerConnection});
}

TEST(ServerTest, SilentReflectionEnds) {
  const TestServer server({.max_positions = 0, .max_silence = absl::Seconds(3)});
  const auto channel = ConnectTo(server.address());
  for (const bool asks : {false, true}) {
    grpc::ClientContext context;
    const auto call = Reflect(channel.get(), &context);
    grpc::ByteBuffer response;
    if (asks) {
      ASSERT_TRUE(call->Write(Bytes(std::string("\x3a\x00", 2))));
      ASSERT_TRUE(call->Read(&response));
    }
    EXPECT_FALSE(call->Read(&response));
    EXPECT_EQ(call->Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  }
}

// What puts one block, in a namespace that `client` opens.
v1::PutRequest OneBlock(CacheClient& client) {
  v1::PutRequest block;
  const auto ns = client.OpenNamespace(TestIdentity(), kTestTimeout);
  EXPECT_TRUE(ns.ok()) << ns.status();
  const std::vector<uint32_t> tokens = TestTokens(1);
  block.set_namespace_id(ns->namespace_id());
  block.mutable_token_ids()->Assign(tokens.begin(), tokens.end());
  block.set_payload(TestPayloads(1, ns->block_bytes()).front());
  block.set_payload_xxh3(cachestore::HashBytes64(absl::MakeConstSpan(
      reinterpret_cast<const std::byte*>(block.payload().data()), block.payload().size())));
  return block;
}

// The lines of calls to these methods: others may be there, of calls that took a second.
std::vector<nlohmann::json> LinesOf(LogFile& log, const std::vector<std::string>& methods) {
  std::vector<nlohmann::json> lines;
  for (nlohmann::json& line : log.Lines()) {
    if (absl::c_linear_search(methods, line["rpc"])) lines.push_back(std::move(line));
  }
  return lines;
}

// How many of its blocks are there.
int64_t MatchedBlocks(CacheClient& client, const v1::PutRequest& block) {
  const auto match = client.Match(block.namespace_id(), TestTokens(1), kTestTimeout);
  return match.ok() ? match->ram_blocks() : -1;
}

TEST(ServerTest, ASilentPutOrImportEndsAndWhatWasPutStays) {
  LogFile log({.format = LogFormat::kJson});
  std::optional<TestServer> server(TestServer::Options{
      .max_positions = 0, .max_message_time = absl::Seconds(2), .log = &log.log()});
  CacheClient client(server->address());
  const v1::PutRequest block = OneBlock(client);
  const auto stub = v1::Cache::NewStub(ConnectTo(server->address()));
  grpc::ClientContext put_context;
  SetTimeout(kTestTimeout, &put_context);
  v1::PutResponse put_response;
  const auto put = stub->Put(&put_context, &put_response);
  ASSERT_TRUE(put->Write(block));
  const grpc::Status put_status = put->Finish();
  EXPECT_EQ(put_status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_THAT(put_status.error_message(), HasSubstr("no whole message for 2s"));
  EXPECT_EQ(MatchedBlocks(client, block), 1);
  grpc::ClientContext import_context;
  SetTimeout(kTestTimeout, &import_context);
  v1::ImportResponse import_response;
  const grpc::Status import_status = stub->Import(&import_context, &import_response)->Finish();
  EXPECT_EQ(import_status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  // The log says what the clients were told, not what the handlers have returned.
  server.reset();
  const auto lines = LinesOf(log, {"reprise.v1.Cache/Put", "reprise.v1.Cache/Import"});
  ASSERT_EQ(lines.size(), 2u);
  for (const nlohmann::json& line : lines) {
    EXPECT_EQ(line["status"], "DEADLINE_EXCEEDED");
    EXPECT_THAT(line["cause"].get<std::string>(), HasSubstr("no whole message for 2s"));
  }
}

TEST(ServerTest, AnAnswerThatIsNotTakenHoldsAThreadForATimeOnly) {
  TestServer server(
      {.max_positions = 0, .listen = "127.0.0.1:0", .max_silence = absl::Milliseconds(500)});
  constexpr int kCalls = 100;
  RawHttp2 rude(server.server().address(), /*window=*/0);
  for (int i = 0; i < kCalls; ++i) rude.Call("/reprise.v1.Cache/Usage", {});
  // All end, those that found no thread at once.
  EXPECT_TRUE(rude.AwaitEnds(kCalls));
  // A thread goes a moment after its call.
  CacheClient client = server.cache();
  const absl::Time deadline = absl::Now() + kTestTimeout;
  while (!client.Stats(kTestTimeout).ok()) ASSERT_LT(absl::Now(), deadline);
}

// Of a call that has a thread, and of one that has none and is in the engine.
TEST(ServerTest, CallsThatOutlastAShutdownsGraceEndAsUnavailable) {
  LogFile log({.format = LogFormat::kJson});
  std::optional<TestServer> server(
      TestServer::Options{.max_positions = 1 << 15, .log = &log.log()});
  grpc::ClientContext put_context;
  v1::PutResponse response;
  const auto put = v1::Cache::NewStub(ConnectTo(server->address()))->Put(&put_context, &response);
  CacheClient client(server->address());
  const v1::PutRequest block = OneBlock(client);
  ASSERT_TRUE(put->Write(block));
  const absl::Time deadline = absl::Now() + kTestTimeout;
  // The call is there, and has a thread.
  while (MatchedBlocks(client, block) != 1) ASSERT_LT(absl::Now(), deadline);
  v1::GenerateRequest request;
  request.set_text("x");
  request.mutable_stop()->set_ignore_eos(true);
  grpc::ClientContext generate_context;
  const auto generate =
      v1::Inference::NewStub(ConnectTo(server->address()))->Generate(&generate_context, request);
  v1::GenerateResponse chunk;
  ASSERT_TRUE(generate->Read(&chunk));
  server->server().Shutdown(absl::Now());
  while (generate->Read(&chunk)) {
  }
  EXPECT_EQ(put->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(generate->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  server.reset();
  const auto lines = LinesOf(log, {"reprise.v1.Cache/Put", "reprise.v1.Inference/Generate"});
  EXPECT_EQ(lines.size(), 2u);
  for (const nlohmann::json& line : lines) {
    EXPECT_EQ(line["status"], "UNAVAILABLE");
    EXPECT_EQ(line["cause"], "the server is shutting down");
  }
}

TEST(ServerTest, WhileARunningCallIsAwaitedNewOnesAreRefused) {
  constexpr int kTokens = 3000;
  TestServer server({.max_positions = 1 << 12});
  CacheClient client = server.cache();
  ASSERT_TRUE(client.Stats(kTestTimeout).ok());  // it is connected
  v1::GenerateRequest request;
  request.set_text("x");
  request.mutable_stop()->set_ignore_eos(true);
  request.mutable_stop()->set_max_new_tokens(kTokens);
  grpc::ClientContext context;
  const auto call =
      v1::Inference::NewStub(ConnectTo(server.address()))->Generate(&context, request);
  v1::GenerateResponse response;
  ASSERT_TRUE(call->Read(&response));
  std::thread shutdown([&] { server.server().Shutdown(absl::Now() + kTestTimeout); });
  absl::Status refusal;
  while (refusal.ok()) refusal = client.Stats(kTestTimeout).status();
  EXPECT_EQ(refusal, absl::UnavailableError("the server is shutting down"));
  int tokens = 1;
  while (call->Read(&response)) tokens += response.has_token() ? 1 : 0;
  EXPECT_TRUE(call->Finish().ok());
  EXPECT_EQ(tokens, kTokens);
  shutdown.join();
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
