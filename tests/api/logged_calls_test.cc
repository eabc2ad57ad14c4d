// The log of calls, against a live server: every method is a line with the ids of its request, and
// nothing that clients sent is in it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "reprise/v1/admin.pb.h"
#include "tests/api/bare_calls.h"
#include "tests/api/log_file.h"
#include "tests/api/raw_http2.h"
#include "tests/api/tenants_fixture.h"

namespace reprise::api {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// A server that logs every call.
class LoggedTest : public ::testing::Test {
 protected:
  static constexpr char kTrace[] = "0af7651916cd43dd8448eb211c80319c";
  static constexpr char kPrompt[] = "sesame-prompt";

  // The answer to a unary call of alice's with ids of its own.
  template <typename Call>
  void CallWithIds(const Call& call) {
    grpc::ClientContext context;
    SetTimeout(kTestTimeout, &context);
    context.AddMetadata("authorization", "Bearer " + file_.alice);
    context.AddMetadata("x-request-id", "order-66");
    context.AddMetadata("traceparent", absl::StrCat("00-", kTrace, "-b7ad6b7169203331-01"));
    call(&context);
    const auto& trailer = context.GetServerTrailingMetadata();
    const auto echoed = trailer.find("x-request-id");
    ASSERT_NE(echoed, trailer.end());
    EXPECT_EQ(echoed->second, "order-66");
  }
  // The lines of a method.
  static std::vector<nlohmann::json> Of(const std::vector<nlohmann::json>& lines,
                                        const std::string& path) {
    std::vector<nlohmann::json> found;
    for (const auto& line : lines) {
      if ("/" + line["rpc"].get<std::string>() == path) found.push_back(line);
    }
    return found;
  }

  TestCredentials file_;
  LogFile log_file_{{.format = LogFormat::kJson, .level = LogLevel::kDebug}};
  std::optional<TestServer> server_{TestServer::Options{
      .guard = {.credentials_file = file_.path(), .audit_log = file_.audit_log()},
      .listen = "127.0.0.1:0",
      .admin = true,
      .log = &log_file_.log()}};
};

TEST_F(LoggedTest, EveryMethodIsALineAndNoneHoldsWhatClientsSent) {
  const auto channel = ConnectTo(server_->address(), {.token = file_.alice});
  const auto admin = ConnectTo(server_->server().admin_address().ToString());
  // A call that finds no connection in time is none.
  for (const auto& connection : {channel, admin}) {
    ASSERT_TRUE(connection->WaitForConnected(absl::ToChronoTime(absl::Now() + kTestTimeout)));
  }
  std::vector<std::string> paths = AllMethods();
  for (const std::string& path : paths) {
    const bool goes_on = absl::EndsWith(path, "/Watch") || absl::EndsWith(path, "/OpenSession");
    CallBare(channel, path, goes_on ? absl::Seconds(1) : kTestTimeout);
  }
  for (const std::string& path : OperatorsMethods()) {
    CallBare(admin, path);
    paths.push_back(path);
  }
  // What came with these must not be found.
  CacheClient alice(server_->address(), {.token = file_.alice});
  const auto opened = alice.OpenNamespace(OwnIdentity(), kTestTimeout);
  const std::vector<std::string> payloads(kBlocks, std::string(512, 'K'));
  const auto tokens = TestTokens(kBlocks);
  ASSERT_TRUE(
      alice.Put(opened->namespace_id(), {}, TestBlocks(tokens, payloads, 0), kTestTimeout).ok());
  v1::GenerateRequest generate;
  v1::ChatMessage& message = *generate.mutable_conversation()->add_messages();
  message.set_role(kPrompt);  // which the error repeats
  message.set_content(kPrompt);
  InferenceClient inference(server_->address(), {.token = file_.alice});
  const auto refused = inference.Generate(generate, kTestTimeout, [](const v1::TokenChunk&) {});
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr(kPrompt));
  generate.set_text(kPrompt);
  generate.mutable_stop()->set_max_new_tokens(1);
  EXPECT_TRUE(inference.Generate(generate, kTestTimeout, [](const v1::TokenChunk&) {}).ok());
  const std::string secret = MakeToken();
  EXPECT_FALSE(CacheClient(server_->address(), {.token = secret}).Stats(kTestTimeout).ok());
  CallWithIds([&](grpc::ClientContext* context) {
    v1::MatchRequest request;
    v1::MatchResponse response;
    request.set_namespace_id(opened->namespace_id());
    request.mutable_token_ids()->Assign(tokens.begin(), tokens.end());
    EXPECT_TRUE(
        v1::Cache::NewStub(ConnectTo(server_->address()))->Match(context, request, &response).ok());
  });

  server_.reset();
  const std::string text = log_file_.Text();
  for (const std::string& sent : {std::string(kPrompt), std::string(16, 'K'),
                                  std::string("1000,1001"), secret, file_.alice, file_.admin}) {
    EXPECT_THAT(text, Not(HasSubstr(sent)));
  }
  const std::vector<nlohmann::json> lines = LogFile::Parse(text);
  for (const std::string& path : paths) EXPECT_FALSE(Of(lines, path).empty()) << path;
  const nlohmann::json put = Of(lines, "/reprise.v1.Cache/Put").back();
  EXPECT_EQ(put["blocks"], kBlocks);
  EXPECT_EQ(put["bytes"], kBlocks * 512);
  EXPECT_EQ(put["tenant"], "alice");
  EXPECT_EQ(put["who"], "alice-web");
  const nlohmann::json match = Of(lines, "/reprise.v1.Cache/Match").back();
  EXPECT_EQ(match["status"], "OK");
  EXPECT_EQ(match["hit_tokens"], kBlocks * kTestBlockTokens);
  EXPECT_EQ(match["request_id"], "order-66");
  EXPECT_EQ(match["trace_id"], kTrace);
  EXPECT_EQ(Of(lines, "/reprise.v1.Inference/Generate").back()["hit_tokens"], 0);
  EXPECT_EQ(Of(lines, "/reprise.v1.Cache/Stats").back()["status"], "UNAUTHENTICATED");
}

TEST_F(LoggedTest, NoHeaderOfAClientsIsTakenForTheServersOwn) {
  const std::vector<std::string> paths = {"/grpc.health.v1.Health/Check",
                                          "/reprise.v1.Cache/Usage"};
  RawHttp2 client(server_->server().address(), 1 << 16);
  int calls = 0;
  for (const std::string& path : paths) {
    // One that gRPC passes on, and of the size of an address.
    for (const std::string& value : {std::string("x"), std::string(8, 'A')}) {
      client.Call(path, {{":reprise-caller", value}, {"authorization", "Bearer " + file_.alice}});
      EXPECT_TRUE(client.AwaitEnds(++calls)) << path << " " << value;
    }
  }
  server_.reset();
  const std::vector<nlohmann::json> lines = log_file_.Lines();
  for (const std::string& path : paths) {
    const std::vector<nlohmann::json> of_path = Of(lines, path);
    ASSERT_EQ(of_path.size(), 2u) << path;
    for (const auto& line : of_path) {
      EXPECT_EQ(line["status"], "OK");
      EXPECT_EQ(line.value("tenant", ""), path == paths[0] ? Nobody().tenant : "alice");
    }
  }
}

TEST_F(LoggedTest, TheAuditLogKnowsTheRequestAndWhatWentAsAFile) {
  CacheClient alice(server_->address(), {.token = file_.alice});
  const auto opened = alice.OpenNamespace(OwnIdentity(), kTestTimeout);
  v1::ExportRequest request;
  request.set_namespace_id(opened->namespace_id());
  std::string file;
  ASSERT_TRUE(alice
                  .Export(request, kTestTimeout,
                          [&](absl::string_view bytes) {
                            absl::StrAppend(&file, bytes);
                            return true;
                          })
                  .ok());
  EXPECT_TRUE(alice.Import(kTestTimeout, [&] { return std::exchange(file, ""); }).ok());
  EXPECT_FALSE(alice.Import(kTestTimeout, [] { return ""; }).ok());
  CallWithIds([&](grpc::ClientContext* context) {
    v1::InvalidateRequest all;
    all.set_all(true);
    v1::InvalidateResponse response;
    EXPECT_FALSE(v1::Cache::NewStub(ConnectTo(server_->address()))
                     ->Invalidate(context, all, &response)
                     .ok());
  });
  server_.reset();
  std::stringstream text;
  text << std::ifstream(file_.audit_log()).rdbuf();
  const std::vector<nlohmann::json> lines = LogFile::Parse(text.str());
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0]["what"], "Export");
  EXPECT_EQ(lines[0]["outcome"], "OK");
  EXPECT_EQ(lines[0]["detail"], "0 blocks");
  EXPECT_EQ(lines[0]["request_id"].get<std::string>().size(), 32u);
  EXPECT_EQ(lines[1]["what"], "Import");
  EXPECT_EQ(lines[1]["detail"], "0 blocks stored, 0 rejected");
  EXPECT_EQ(lines[2]["what"], "Import");
  EXPECT_EQ(lines[2]["outcome"], "INVALID_ARGUMENT");
  EXPECT_EQ(lines[3]["what"], "Invalidate");
  EXPECT_EQ(lines[3]["request_id"], "order-66");
}

}  // namespace
}  // namespace reprise::api
