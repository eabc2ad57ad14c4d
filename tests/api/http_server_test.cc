#include "api/http/http_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "api/http/logged_reply.h"
#include "tests/api/log_file.h"
#include "tests/api/raw_http.h"

namespace reprise::api {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// Says what was asked of it; what it does depends on the path.
class EchoHandler final : public HttpHandler {
 public:
  std::optional<HttpResponse> AnswerAtOnce(const HttpRequest& request) override {
    if (request.path == "/quick") return HttpResponse{.body = "quick"};
    return std::nullopt;
  }

  void Handle(HttpRequest request, std::shared_ptr<HttpReply> reply) override {
    if (request.path == "/throw") throw std::runtime_error("x");
    if (request.path == "/drop") return;
    if (request.path == "/hold" || request.path == "/flood") {
      reply->NotifyGone([this] { gone.Notify(); });
      if (request.path == "/flood") return Flood(reply.get());
      held = std::move(reply);
      return holding.Notify();
    }
    if (request.path == "/stream" || request.path == "/torn") {
      reply->Begin({.content_type = "text/event-stream"});
      reply->Write("one ");
      reply->Write("two");
      if (request.path == "/stream") reply->End();
      return;
    }
    reply->Send(
        {.headers = {{"X-Peer", request.peer}, {"X-Seen", std::string(request.Header("x-a"))}},
         .content_type = "text/plain",
         .body = absl::StrCat(request.method, " ", request.path, " ", request.body)});
  }

  HttpResponse Refusal(int status, absl::string_view cause) override {
    return {.status = status, .body = std::string(cause)};
  }

  absl::Notification holding;  // a request to /hold is there
  absl::Notification gone;     // the client of /hold or /flood has gone
  std::shared_ptr<HttpReply> held;
  size_t flooded_bytes = 0;  // written until then

 private:
  // Writes until the client is cut off.
  void Flood(HttpReply* reply) {
    reply->Begin({});
    const std::string piece(4096, 'x');
    while (!gone.HasBeenNotified()) {
      reply->Write(piece);
      flooded_bytes += piece.size();
      std::this_thread::yield();
    }
  }
};

class HttpServerTest : public ::testing::Test {
 protected:
  void Start(const HttpLimits& limits = {}) {
    auto server = HttpServer::Start(*ParseListenAddress("127.0.0.1:0"), &handler_, limits);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  const ListenAddress& address() const { return server_->address(); }
  ~HttpServerTest() override {
    server_.reset();  // its last replies are the handler's
  }

  EchoHandler handler_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, AConnectionCarriesOneRequestAfterTheOther) {
  Start();
  EXPECT_NE(address().port, 0);
  RawHttp client(address());
  client.Send(
      "POST /a?b=c HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: 3\r\n\r\nxyz");
  const RawResponse first = client.Read();
  EXPECT_EQ(first.status, 200);
  EXPECT_EQ(first.body, "POST /a xyz");
  EXPECT_EQ(first.headers.at("x-seen"), "1");
  EXPECT_THAT(first.headers.at("x-peer"), StartsWith("127.0.0.1:"));
  EXPECT_EQ(client.Get("/quick").body, "quick");
  // Two that are sent before the first one is answered.
  client.Send("GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(client.Read().body, "GET /1 ");
  EXPECT_EQ(client.Read().body, "GET /2 ");
  EXPECT_EQ(server_->num_connections(), 1);
}

TEST_F(HttpServerTest, AStreamComesInChunksOrToOlderClientsUpToTheEnd) {
  Start();
  RawHttp client(address());
  const RawResponse chunked = client.Get("/stream");
  EXPECT_EQ(chunked.headers.at("transfer-encoding"), "chunked");
  EXPECT_EQ(chunked.headers.at("content-type"), "text/event-stream");
  EXPECT_EQ(chunked.body, "one two");
  EXPECT_TRUE(chunked.whole);
  client.Send("GET /stream HTTP/1.0\r\n\r\n");
  const RawResponse plain = client.Read();
  EXPECT_EQ(plain.headers.count("transfer-encoding"), 0u);
  EXPECT_EQ(plain.body, "one two");
}

TEST_F(HttpServerTest, HeadHasNoBodyAndAClientMayAskWhetherToSendItsOwn) {
  Start();
  RawHttp client(address());
  client.Send("HEAD /quick HTTP/1.1\r\nHost: x\r\n\r\n");
  const RawResponse head = client.Read(/*has_body=*/false);
  EXPECT_EQ(head.headers.at("content-length"), "5");
  client.Send("POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  EXPECT_EQ(client.ReadHead().status, 100);
  client.Send("hi");
  EXPECT_EQ(client.Read().body, "POST /a hi");
}

TEST_F(HttpServerTest, WhatIsTooLargeOrNotHttpIsRefusedBeforeItIsRead) {
  Start({.header_bytes = 1000, .body_bytes = 100, .bodies_bytes = 150});
  const auto refusal = [this](const std::string& request) {
    RawHttp client(address());
    client.Send(request);
    const RawResponse response = client.Read();
    EXPECT_EQ(response.headers.at("connection"), "close") << request;
    EXPECT_EQ(client.ReadToEnd(), "");
    return response.status;
  };
  EXPECT_EQ(refusal("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 101\r\n\r\n"), 413);
  EXPECT_EQ(
      refusal(absl::StrCat("POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
                           "80\r\n", std::string(128, 'x'), "\r\n0\r\n\r\n")),
      413);
  EXPECT_EQ(refusal(absl::StrCat("GET /a HTTP/1.1\r\nX: ", std::string(1000, 'x'), "\r\n\r\n")),
            431);
  EXPECT_EQ(refusal("nonsense\r\n\r\n"), 400);
  EXPECT_EQ(refusal("GET /a HTTP/1.1\r\nbad header\r\n\r\n"), 400);
  EXPECT_EQ(refusal("POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n"),
            400);
  // Room for one body of 100 bytes, not for two.
  RawHttp slow(address());
  slow.Send("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf");
  slow.Send("way");
  // The server's one thread has read the header of the first by the time it has answered this.
  EXPECT_EQ(RawHttp(address()).Get("/quick").status, 200);
  EXPECT_EQ(refusal("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"), 503);
  slow.Send(std::string(93, 'x'));
  EXPECT_EQ(slow.Read().status, 200);
  EXPECT_EQ(RawHttp(address()).Post("/a", std::string(100, 'y')).status, 200);
}

TEST_F(HttpServerTest, ABodyComesInPiecesOfAnySize) {
  Start();
  std::string body;
  for (int i = 0; body.size() < 100'000; ++i) absl::StrAppend(&body, i, ",");
  RawHttp sized(address());
  sized.Send(
      absl::StrCat("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: ", body.size(), "\r\n\r\n"));
  for (size_t at = 0; at < body.size(); at += 7001) sized.Send(body.substr(at, 7001));
  EXPECT_EQ(sized.Read().body, absl::StrCat("POST /a ", body));
  // Chunks, of which each byte of their frames may come alone.
  RawHttp chunked(address());
  std::string request = "POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (size_t at = 0; at < 300; at += 100) {
    absl::StrAppend(&request, "64\r\n", body.substr(at, 100), "\r\n");
  }
  absl::StrAppend(&request, "0\r\n\r\n");
  for (const char byte : request) chunked.Send(std::string(1, byte));
  EXPECT_EQ(chunked.Read().body, absl::StrCat("POST /b ", body.substr(0, 300)));
  EXPECT_EQ(chunked.Get("/quick").status, 200);
  // The line before a chunk, which never ends.
  RawHttp endless(address());
  endless.Send("POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;");
  EXPECT_GT(endless.SendUntilRefused(std::string(4096, 'x')), 0);
}

TEST_F(HttpServerTest, AnUploadInDropsIsCutOffWhenItsTimeIsOver) {
  Start({.transfer_time = absl::Milliseconds(50), .bytes_per_second = 1 << 30});
  RawHttp client(address());
  const absl::Time begin = absl::Now();
  client.Send("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 16777216\r\n\r\n");
  // Each drop is something read; none of them makes the time longer.
  EXPECT_GT(client.SendUntilRefused("x"), 0);
  EXPECT_GE(absl::Now() - begin, absl::Milliseconds(50));
  EXPECT_EQ(RawHttp(address()).Get("/quick").status, 200);
}

TEST_F(HttpServerTest, ClientsThatTakeTooLongAreCutOff) {
  Start({.idle_time = absl::Milliseconds(50),
         .header_time = absl::Milliseconds(50),
         .transfer_time = absl::Milliseconds(50)});
  RawHttp idle(address());
  EXPECT_EQ(idle.ReadToEnd(), "");
  RawHttp in_header(address());
  in_header.Send("GET /a HT");
  EXPECT_EQ(in_header.ReadToEnd(), "");
  RawHttp in_body(address());
  in_body.Send("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345");
  EXPECT_EQ(in_body.ReadToEnd(), "");
}

TEST_F(HttpServerTest, OneConnectionTooManyIsTurnedAway) {
  Start({.connections = 2});
  RawHttp first(address());
  RawHttp second(address());
  EXPECT_EQ(first.Get("/quick").status, 200);
  EXPECT_EQ(second.Get("/quick").status, 200);
  RawHttp third(address());
  EXPECT_EQ(third.Read().status, 503);
  EXPECT_EQ(first.Get("/quick").status, 200);
}

TEST_F(HttpServerTest, AReaderThatIsTooSlowIsCutOffAndItsMemoryBounded) {
  // More than the system's buffers take: a write is under way, and stuck, when it is too much.
  constexpr size_t kUnsent = 8 << 20;
  Start({.unsent_bytes = kUnsent});
  RawHttp client(address(), /*receive_bytes=*/4096);
  client.Send("GET /flood HTTP/1.1\r\nHost: x\r\n\r\n");
  handler_.gone.WaitForNotification();
  // What waited, what was being written and what the system buffered: no more was ever taken in.
  server_->Shutdown(absl::InfiniteFuture());
  EXPECT_GT(handler_.flooded_bytes, kUnsent);
}

TEST_F(HttpServerTest, AClientThatGoesIsNoticedWhileItsAnswerIsAwaited) {
  Start();
  RawHttp client(address());
  client.Send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
  handler_.holding.WaitForNotification();
  client.Close();
  handler_.gone.WaitForNotification();
  handler_.held->Send({.body = "too late"});
  bool told = false;
  handler_.held->NotifyGone([&told] { told = true; });
  EXPECT_TRUE(told);
}

TEST_F(HttpServerTest, AnAnswerThatNeverComesIsAnError) {
  Start();
  RawHttp client(address());
  for (const char* path : {"/throw", "/drop"}) {
    const RawResponse response = client.Get(path);
    EXPECT_EQ(response.status, 500) << path;
    EXPECT_THAT(response.body, HasSubstr("failed"));
  }
  // One that has begun ends without its end, which clients notice.
  const RawResponse torn = client.Get("/torn");
  EXPECT_EQ(torn.status == 200 && torn.whole, false);
}

TEST_F(HttpServerTest, ShutdownWaitsForAnswersAndEndsTheirConnections) {
  Start();
  RawHttp client(address());
  RawHttp idle(address());
  EXPECT_EQ(idle.Get("/quick").status, 200);
  client.Send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
  handler_.holding.WaitForNotification();
  std::thread shutdown([this] { server_->Shutdown(absl::InfiniteFuture()); });
  handler_.held->Send({.body = "at last"});
  const RawResponse response = client.Read();
  EXPECT_EQ(response.body, "at last");
  EXPECT_EQ(client.ReadToEnd(), "");
  EXPECT_EQ(idle.ReadToEnd(), "");
  shutdown.join();
  EXPECT_FALSE(handler_.gone.HasBeenNotified());
}

TEST_F(HttpServerTest, ShutdownCutsOffWhatLastsLonger) {
  Start();
  RawHttp client(address());
  client.Send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
  handler_.holding.WaitForNotification();
  server_->Shutdown(absl::Now());
  EXPECT_TRUE(handler_.gone.HasBeenNotified());
  EXPECT_EQ(client.ReadToEnd(), "");
  server_.reset();
  handler_.held->Send({.body = "to nobody"});  // outlives the server
}

TEST_F(HttpServerTest, AnAddressThatIsTakenIsAnError) {
  Start();
  const auto second = HttpServer::Start(address(), &handler_);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(address().ToString()));
}

// A reply whose client goes when the test says so.
class LeavableReply final : public HttpReply {
 public:
  void Send(HttpResponse) override {}
  void Begin(HttpResponse) override {}
  void Write(absl::string_view) override {}
  void End() override {}
  void NotifyGone(std::function<void()> gone) override { leave = std::move(gone); }

  std::function<void()> leave;
};

TEST(LoggedReplyTest, AHandlerThatFailsIsNoClientThatLeaves) {
  LogFile file({.format = LogFormat::kJson, .level = LogLevel::kDebug});
  const absl::Time start = absl::Now() - absl::Minutes(1);
  const auto left = std::make_shared<LeavableReply>();
  bool heard = false;
  { const LoggedReply failed(&file.log(), {.rpc = "failed"}, start, left); }
  for (const bool asks : {false, true}) {
    LoggedReply reply(&file.log(), {.rpc = "left"}, start, left);
    if (asks) reply.NotifyGone([&] { heard = true; });
    left->leave();
  }
  const std::vector<nlohmann::json> lines = file.Lines();
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0]["status"], "500");
  EXPECT_EQ(lines[0]["level"], "info");
  EXPECT_EQ(lines[1]["status"], "CANCELLED");
  EXPECT_EQ(lines[2]["status"], "CANCELLED");
  EXPECT_TRUE(heard);
  EXPECT_GE(lines[0]["ms"], 60'000) << "the time before the handler is left out";
}

}  // namespace
}  // namespace reprise::api
