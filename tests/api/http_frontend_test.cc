#include "api/http/http_frontend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "api/auth/secret_token.h"
#include "api/cli/text_file.h"
#include "tests/api/credentials_fixture.h"
#include "tests/api/hints_keeper.h"
#include "tests/api/log_file.h"
#include "tests/api/raw_http.h"
#include "tests/api/test_server.h"
#include "tests/fakes/temp_folder.h"

namespace reprise::api {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

using Json = nlohmann::json;

class HttpFrontendTest : public ::testing::Test {
 protected:
  void Start(const TestServer::Options& options) {
    server_ = std::make_unique<TestServer>(options);
    Listen({});
  }
  void StartReady(const TestServer::Options& options) {
    Start(options);
    http_->SetReady(Parts(options.max_positions > 0), server_->server());
  }
  // Another listener takes the place of the first one, without a model.
  void Serve(const std::vector<std::string>& hosts) {
    Listen(hosts);
    http_->SetReady(Parts(/*with_model=*/false), server_->server());
  }
  void Listen(const std::vector<std::string>& hosts) {
    auto http = HttpFrontend::Start(*ParseListenAddress("127.0.0.1:0"), &server_->guard(),
                                    &log_file_.log(), hosts);
    ASSERT_TRUE(http.ok()) << http.status();
    http_ = *std::move(http);
  }
  ServedParts Parts(bool with_model = true) const {
    ServedParts parts;
    parts.store = &server_->store();
    if (with_model) parts.engine = &server_->engine();
    if (with_model) parts.model_name = "tiny";
    return parts;
  }
  ~HttpFrontendTest() override {
    http_.reset();  // before the engine
  }

  RawResponse Get(absl::string_view path) const { return RawHttp(http_->address()).Get(path); }
  RawResponse Post(absl::string_view path, absl::string_view body) const {
    return RawHttp(http_->address()).Post(path, body);
  }
  // The answer to a completion of `more` ("" or members of JSON with a comma before each).
  Json Complete(const std::string& more) const {
    const RawResponse response =
        Post("/v1/completions",
             absl::StrCat(R"({"prompt":"Once upon a time","ignore_eos":true)", more, "}"));
    EXPECT_EQ(response.status, 200) << response.body;
    return Json::parse(response.body);
  }
  // The events of a stream, without [DONE], which is checked.
  static std::vector<Json> Events(const RawResponse& response) {
    EXPECT_EQ(response.status, 200) << response.body;
    EXPECT_THAT(response.headers.at("content-type"), StartsWith("text/event-stream"));
    std::vector<Json> events;
    bool done = false;
    for (absl::string_view event : absl::StrSplit(response.body, "\n\n", absl::SkipEmpty())) {
      EXPECT_FALSE(done);
      EXPECT_TRUE(absl::ConsumePrefix(&event, "data: ")) << event;
      done = event == "[DONE]";
      if (!done) events.push_back(Json::parse(event));
    }
    EXPECT_TRUE(done);
    return events;
  }

  LogFile log_file_{{.format = LogFormat::kJson, .level = LogLevel::kDebug}};
  std::unique_ptr<TestServer> server_;
  std::unique_ptr<HttpFrontend> http_;
};

TEST_F(HttpFrontendTest, ASessionIsNamedAndClosed) {
  StartReady({});
  const auto keeper = std::make_shared<HintsKeeper>();
  server_->store().Watch(keeper);
  Complete(R"(,"prompt_cache_key":"chat-17","user":"ann")");
  const auto open = keeper->Take();
  Complete(R"(,"prompt_cache_key":"chat-17","session_closed":true)");
  const auto closed = keeper->Take();
  server_->store().Watch(nullptr);
  ASSERT_FALSE(open.empty() || closed.empty());
  EXPECT_NE(open.back().session, 0u);
  EXPECT_EQ(closed.back().session, open.back().session);
  EXPECT_FALSE(open.back().session_closed);
  EXPECT_TRUE(closed.back().session_closed);
}

TEST_F(HttpFrontendTest, EveryAnswerIsALineOfTheLogWithTheRequestsId) {
  StartReady({});
  RawHttp client(http_->address());
  const std::string body = R"({"prompt":"sesame-prompt","ignore_eos":true,"stream":true})";
  client.Send(absl::StrCat(
      "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: order-66\r\n",
      "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n",
      "Content-Type: application/json\r\nContent-Length: ", body.size(), "\r\n\r\n", body));
  EXPECT_EQ(client.Read().headers.at("x-request-id"), "order-66");
  EXPECT_EQ(Post("/v1/completions", R"({"prompt":"sesame-prompt","sesame":1})").status, 400);
  EXPECT_EQ(Get("/sesame-path").headers.at("x-request-id").size(), 32u);
  EXPECT_EQ(Get("/healthz").status, 200);
  EXPECT_THAT(
      Get("/metrics").body,
      AllOf(HasSubstr("reprise_first_answer_seconds_count{rpc=\"POST /v1/completions\"} 1\n"),
            Not(HasSubstr("unknown"))));
  http_.reset();
  const std::string text = log_file_.Text();
  EXPECT_THAT(text, Not(HasSubstr("sesame")));
  const std::vector<Json> lines = LogFile::Parse(text);
  ASSERT_EQ(lines.size(), 5u);
  EXPECT_EQ(lines[0]["rpc"], "POST /v1/completions");
  EXPECT_EQ(lines[0]["status"], "200");
  EXPECT_EQ(lines[0]["request_id"], "order-66");
  EXPECT_EQ(lines[0]["trace_id"], "0af7651916cd43dd8448eb211c80319c");
  EXPECT_EQ(lines[0]["hit_tokens"], 0);
  EXPECT_LT(lines[0]["first_ms"], lines[0]["ms"]);
  EXPECT_EQ(lines[1]["status"], "400");
  EXPECT_EQ(lines[1]["level"], "info");
  EXPECT_EQ(lines[2]["rpc"], "GET (unknown)");
  EXPECT_EQ(lines[2]["status"], "404");
  EXPECT_EQ(lines[3]["rpc"], "GET /healthz");
  EXPECT_EQ(lines[3]["level"], "debug");
}

TEST_F(HttpFrontendTest, ItLivesFromTheStartAndIsReadyBetweenRecoveryAndDrain) {
  Start({});
  EXPECT_EQ(Get("/healthz").status, 200);
  EXPECT_EQ(Get("/readyz").status, 503);
  EXPECT_THAT(Get("/readyz").body, HasSubstr("recovers"));
  EXPECT_THAT(Get("/metrics").body, HasSubstr("reprise_ready 0\n"));
  const RawResponse early = Post("/v1/completions", R"({"prompt":"a"})");
  EXPECT_EQ(early.status, 503);
  EXPECT_EQ(early.headers.at("retry-after"), "1");
  EXPECT_EQ(Json::parse(early.body)["error"]["type"], "server_error");
  http_->SetReady(Parts(), server_->server());
  EXPECT_EQ(Get("/readyz").status, 200);
  EXPECT_THAT(Get("/metrics").body, HasSubstr("reprise_ready 1\n"));
  Complete("");
  http_->Drain();
  EXPECT_EQ(Get("/healthz").status, 200);
  EXPECT_EQ(Get("/readyz").status, 503);
  EXPECT_EQ(Post("/v1/completions", R"({"prompt":"a"})").status, 503);
}

TEST_F(HttpFrontendTest, UnknownPathsMethodsAndTypesAreRefused) {
  StartReady({});
  EXPECT_EQ(Get("/v1/embeddings").status, 404);
  const RawResponse wrong = Get("/v1/chat/completions");
  EXPECT_EQ(wrong.status, 405);
  EXPECT_EQ(wrong.headers.at("allow"), "POST");
  RawHttp form(http_->address());
  form.Send("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}");
  EXPECT_EQ(form.Read().status, 415);
  const auto from = [this](const std::string& origin) {
    RawHttp page(http_->address());
    page.Send(
        absl::StrCat("GET /v1/models HTTP/1.1\r\nHost: localhost\r\nOrigin: ", origin, "\r\n\r\n"));
    return page.Read().status;
  };
  EXPECT_EQ(from("http://evil.example"), 403);
  EXPECT_EQ(from("http://127.evil.example:8080"), 403);
  EXPECT_EQ(from("null"), 403);
  EXPECT_EQ(from("http://localhost:3000"), 200);
}

TEST_F(HttpFrontendTest, AnotherSitesNameDoesNotStandForThisMachine) {
  StartReady({.max_positions = 0});
  const auto to = [this](const std::string& host, const std::string& more = "") {
    RawHttp page(http_->address());
    page.Send(absl::StrCat("GET /v1/models HTTP/1.1\r\nHost: ", host, "\r\n", more, "\r\n"));
    return page.Read();
  };
  const RawResponse foreign = to("evil.example:8080");
  EXPECT_EQ(foreign.status, 421);
  const Json error = Json::parse(foreign.body)["error"];
  EXPECT_EQ(error["type"], "invalid_request_error");
  EXPECT_THAT(std::string(error["message"]),
              AllOf(HasSubstr("evil.example"), HasSubstr("--http-host")));
  EXPECT_EQ(to("evil.example", "Origin: http://evil.example\r\n").status, 421);
  for (const char* host : {"127.evil.example", "0.0.0.0:80", "", "unix:/x", "chat.example"}) {
    EXPECT_EQ(to(host).status, 421) << host;
  }
  for (const char* host : {"localhost", "LocalHost:80", "127.0.0.1:8080", "[::1]", "[::1]:8080"}) {
    EXPECT_EQ(to(host).status, 200) << host;
  }
  Serve({"chat.example"});
  EXPECT_EQ(to("Chat.example").status, 200);
  EXPECT_EQ(to("chat.example", "Origin: https://chat.example\r\n").status, 200);
  EXPECT_EQ(to("localhost").status, 200);
  EXPECT_EQ(to("evil.example").status, 421);
  // A prober goes by an address.
  for (const char* probe : {"/healthz", "/readyz"}) {
    RawHttp prober(http_->address());
    prober.Send(absl::StrCat("GET ", probe, " HTTP/1.1\r\nHost: 10.0.0.7:8080\r\n\r\n"));
    EXPECT_EQ(prober.Read().status, 200) << probe;
  }
  EXPECT_EQ(to("chat.example", "Origin: https://evil.example\r\n").status, 403);
}

TEST_F(HttpFrontendTest, WhereACredentialIsAskedForTheNameDoesNotMatter) {
  const TestCredentials file;
  StartReady({.max_positions = 0, .guard = {.credentials_file = file.path()}});
  const auto to = [this, &file](const std::string& host) {
    RawHttp client(http_->address());
    client.Send(absl::StrCat("GET /v1/models HTTP/1.1\r\nHost: ", host,
                             "\r\nAuthorization: Bearer ", file.alice, "\r\n\r\n"));
    return client.Read().status;
  };
  EXPECT_EQ(to("chat.example"), 200);
  Serve({"chat.example"});
  EXPECT_EQ(to("chat.example"), 200);
  EXPECT_EQ(to("evil.example"), 421);
}

TEST_F(HttpFrontendTest, ModelsAreListed) {
  StartReady({});
  const Json list = Json::parse(Get("/v1/models").body);
  ASSERT_EQ(list["data"].size(), 1u);
  EXPECT_EQ(list["data"][0]["id"], "tiny");
  EXPECT_EQ(list["data"][0]["max_model_len"], 512);
  EXPECT_EQ(Json::parse(Get("/v1/models/tin%79").body)["id"], "tiny");
  EXPECT_EQ(Get("/v1/models/other").status, 404);
  const RawResponse other = Post("/v1/completions", R"({"model":"other","prompt":"a"})");
  EXPECT_EQ(other.status, 404);
  EXPECT_EQ(Json::parse(other.body)["error"]["code"], "model_not_found");
}

TEST_F(HttpFrontendTest, WithoutAModelThereIsNoneToAsk) {
  StartReady({.max_positions = 0});
  EXPECT_EQ(Get("/readyz").status, 200);
  EXPECT_TRUE(Json::parse(Get("/v1/models").body)["data"].empty());
  EXPECT_EQ(Post("/v1/completions", R"({"prompt":"a"})").status, 404);
}

TEST_F(HttpFrontendTest, TheAnswerIsThatOfGenerateAndTellsWhatWasCached) {
  StartReady({});
  v1::GenerateRequest request;
  request.set_text("Once upon a time");
  request.mutable_stop()->set_max_new_tokens(12);
  request.mutable_stop()->set_ignore_eos(true);
  std::string text;
  const auto summary = server_->inference().Generate(
      request, kTestTimeout, [&text](const v1::TokenChunk& chunk) { text += chunk.text(); });
  ASSERT_TRUE(summary.ok()) << summary.status();
  const Json answer = Complete(R"(,"temperature":0,"max_tokens":12)");
  EXPECT_EQ(answer["choices"][0]["text"], text);
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(answer["object"], "text_completion");
  EXPECT_THAT(answer["id"].get<std::string>(), StartsWith("cmpl-"));
  const Json& usage = answer["usage"];
  EXPECT_EQ(usage["prompt_tokens"], summary->prompt_tokens());
  EXPECT_EQ(usage["completion_tokens"], 12);
  EXPECT_EQ(usage["total_tokens"], summary->prompt_tokens() + 12);
  const int64_t reusable = (summary->prompt_tokens() - 1) / kTestBlockTokens * kTestBlockTokens;
  EXPECT_GT(reusable, 0);
  EXPECT_EQ(usage["prompt_tokens_details"]["cached_tokens"], reusable);
  EXPECT_EQ(usage["prompt_tokens_details"]["cached_tokens_by_tier"]["ram"], reusable);
}

TEST_F(HttpFrontendTest, AStreamSaysWhatTheWholeAnswerSays) {
  StartReady({});
  const std::string body =
      R"({"messages":[{"role":"user","content":"Hello"}],"max_tokens":9,"seed":5,"n":2)";
  const Json whole = Json::parse(Post("/v1/chat/completions", absl::StrCat(body, "}")).body);
  const std::vector<Json> events = Events(
      Post("/v1/chat/completions",
           absl::StrCat(body, R"(,"stream":true,"stream_options":{"include_usage":true}})")));
  std::vector<std::string> texts(2);
  std::vector<std::string> roles(2);
  std::vector<Json> reasons(2);
  for (size_t i = 0; i + 1 < events.size(); ++i) {
    EXPECT_EQ(events[i]["object"], "chat.completion.chunk");
    EXPECT_TRUE(events[i]["usage"].is_null());
    const Json& choice = events[i]["choices"][0];
    const auto index = choice["index"].get<size_t>();
    if (roles[index].empty()) roles[index] = choice["delta"].value("role", "missing");
    texts[index] += choice["delta"].value("content", "");
    if (!choice["finish_reason"].is_null()) reasons[index] = choice["finish_reason"];
  }
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(texts[i], whole["choices"][i]["message"]["content"]) << i;
    EXPECT_EQ(roles[i], "assistant");
    EXPECT_EQ(reasons[i], whole["choices"][i]["finish_reason"]);
  }
  EXPECT_NE(texts[0], texts[1]);
  EXPECT_TRUE(events.back()["choices"].empty());
  EXPECT_EQ(events.back()["usage"]["completion_tokens"], whole["usage"]["completion_tokens"]);
}

TEST_F(HttpFrontendTest, WithoutASeedAnswersDiffer) {
  StartReady({});
  EXPECT_NE(Complete("")["choices"][0]["text"], Complete("")["choices"][0]["text"]);
  EXPECT_EQ(Complete(",\"seed\":1")["choices"][0]["text"],
            Complete(",\"seed\":1")["choices"][0]["text"]);
}

TEST_F(HttpFrontendTest, LogProbabilitiesComeInBothShapes) {
  StartReady({});
  const Json completion = Complete(R"(,"logprobs":2,"temperature":0,"max_tokens":4)");
  const Json& logprobs = completion["choices"][0]["logprobs"];
  ASSERT_EQ(logprobs["tokens"].size(), 4u);
  ASSERT_EQ(logprobs["token_logprobs"].size(), 4u);
  EXPECT_EQ(logprobs["text_offset"][0], 0);
  EXPECT_LE(logprobs["top_logprobs"][0].size(), 2u);
  // Greedy: the token is the likeliest one.
  EXPECT_EQ(logprobs["top_logprobs"][0][logprobs["tokens"][0].get<std::string>()],
            logprobs["token_logprobs"][0]);
  const std::string chat =
      R"({"messages":[{"role":"user","content":"Hello"}],"max_tokens":3,"temperature":0,
          "logprobs":true,"top_logprobs":2)";
  const Json whole = Json::parse(
      Post("/v1/chat/completions", absl::StrCat(chat, "}")).body)["choices"][0]["logprobs"];
  ASSERT_EQ(whole["content"].size(), 3u);
  EXPECT_EQ(whole["content"][0]["top_logprobs"].size(), 2u);
  EXPECT_LT(whole["content"][0]["logprob"].get<float>(), 0);
  Json streamed = Json::array();
  for (const Json& event :
       Events(Post("/v1/chat/completions", absl::StrCat(chat, ",\"stream\":true}")))) {
    const Json& choice = event["choices"][0];
    if (choice["logprobs"].is_null()) continue;
    for (const Json& entry : choice["logprobs"]["content"]) streamed.push_back(entry);
  }
  EXPECT_EQ(streamed, whole["content"]);
}

TEST_F(HttpFrontendTest, SeveralPromptsAreAnsweredInOrder) {
  StartReady({});
  const Json both = Json::parse(
      Post("/v1/completions", R"({"prompt":["One","Two"],"temperature":0,"n":1})").body);
  ASSERT_EQ(both["choices"].size(), 2u);
  for (int i = 0; i < 2; ++i) {
    const Json one =
        Json::parse(Post("/v1/completions", absl::StrCat(R"({"prompt":")", i == 0 ? "One" : "Two",
                                                         R"(","temperature":0})"))
                        .body);
    EXPECT_EQ(both["choices"][i]["index"], i);
    EXPECT_EQ(both["choices"][i]["text"], one["choices"][0]["text"]);
  }
}

TEST_F(HttpFrontendTest, APromptThatIsTooLongSaysSoInOpenAisWords) {
  StartReady({.max_positions = 64});
  const RawResponse response =
      Post("/v1/completions", absl::StrCat(R"({"prompt":")", std::string(400, 'a'), "\"}"));
  EXPECT_EQ(response.status, 400);
  const Json error = Json::parse(response.body)["error"];
  EXPECT_EQ(error["code"], "context_length_exceeded");
  EXPECT_EQ(error["param"], "prompt");
  const RawResponse role =
      Post("/v1/chat/completions", R"({"messages":[{"role":"robot","content":"x"}]})");
  EXPECT_EQ(role.status, 400);
  EXPECT_THAT(role.body, HasSubstr("robot"));
  const RawResponse sampling = Post("/v1/completions", R"({"prompt":"a","top_p":2})");
  EXPECT_EQ(sampling.status, 400);
  EXPECT_THAT(sampling.body, HasSubstr("top_p"));
}

TEST_F(HttpFrontendTest, AChatWithoutALimitGoesOnToTheEndOfTheContextOrOfRam) {
  StartReady({.max_positions = 64});
  const std::string body =
      R"({"messages":[{"role":"user","content":"Hi"}],"ignore_eos":true,"temperature":0})";
  EXPECT_EQ(Json::parse(Post("/v1/chat/completions", body).body)["usage"]["total_tokens"], 64);
}

TEST_F(HttpFrontendTest, IdsAreEchoedOrMadeUp) {
  StartReady({});
  const auto ids = [this](const std::string& headers) {
    RawHttp client(http_->address());
    client.Send(absl::StrCat("GET /v1/models HTTP/1.1\r\nHost: localhost\r\n", headers, "\r\n"));
    return client.Read().headers;
  };
  const std::string trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  auto echoed = ids(absl::StrCat("X-Request-Id: my/id-1\r\nTraceparent: ", trace, "\r\n"));
  EXPECT_EQ(echoed["x-request-id"], "my/id-1");
  EXPECT_EQ(echoed["traceparent"], trace);
  auto made_up = ids("X-Request-Id: a b\r\nTraceparent: 00-0-0-0\r\n");
  EXPECT_EQ(made_up["x-request-id"].size(), 32u);
  EXPECT_EQ(made_up.count("traceparent"), 0u);
  EXPECT_NE(made_up["x-request-id"], ids("")["x-request-id"]);
}

TEST_F(HttpFrontendTest, TheTenantIsThatOfTheCredential) {
  const TempFolder folder;
  const auto credential = [](const char* name) {
    return absl::StrCat("[[credentials]]\nname = \"", name, "\"\ntenant = \"", name,
                        "\"\ntoken-sha256 = \"", ToHex(DigestOf(name)), "\"\n");
  };
  const std::string file = folder / "credentials";
  ASSERT_TRUE(WriteFile(file, absl::StrCat("[tenants.bob]\ncalls-per-second = 2\n",
                                           credential("alice"), credential("bob")))
                  .ok());
  ASSERT_EQ(chmod(file.c_str(), 0600), 0);
  Start({.guard = {.credentials_file = file, .audit_log = folder / "audit"}});
  http_->SetReady(Parts(), server_->server());
  const auto ask = [this](const std::string& header) {
    RawHttp client(http_->address());
    const std::string body = R"({"prompt":"A prompt of more than one block","temperature":0})";
    client.Send(absl::StrCat("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n", header,
                             "Content-Type: application/json\r\nContent-Length: ", body.size(),
                             "\r\n\r\n", body));
    return client.Read();
  };
  const auto cached = [&ask](const std::string& header) {
    return Json::parse(ask(header).body)["usage"]["prompt_tokens_details"]["cached_tokens"];
  };
  const RawResponse nobody = ask("");
  EXPECT_EQ(nobody.status, 401);
  EXPECT_EQ(nobody.headers.at("www-authenticate"), "Bearer");
  EXPECT_EQ(ask("Authorization: Basic alice\r\n").status, 401);
  EXPECT_EQ(cached("Authorization: Bearer alice\r\n"), 0);
  EXPECT_EQ(cached("Authorization: bearer bob\r\n"), 0);
  EXPECT_GT(cached("Authorization: Bearer alice\r\n"), 0);
  EXPECT_GT(cached("Authorization: Bearer bob\r\n"), 0);
  // Bob's two calls of this second are gone, and perhaps a third one by now.
  RawResponse limited = ask("Authorization: Bearer bob\r\n");
  while (limited.status == 200) limited = ask("Authorization: Bearer bob\r\n");
  EXPECT_EQ(limited.status, 429);
  EXPECT_EQ(limited.headers.at("retry-after"), "1");
  const std::string audit = *ReadFile(folder / "audit");
  EXPECT_THAT(audit, AllOf(HasSubstr("/v1/completions"), HasSubstr("\"bob\"")));
  EXPECT_EQ(Get("/metrics").status, 401);
  // Nobody needs a credential to see that the server lives.
  EXPECT_EQ(Get("/readyz").status, 200);
}

TEST_F(HttpFrontendTest, AClientThatGoesFreesItsRequest) {
  StartReady({.ram_bytes = 64 << 20, .max_positions = 1 << 16, .max_running = 1});
  for (const char* stream : {"true", "false"}) {
    RawHttp endless(http_->address());
    endless.SendPost("/v1/completions",
                     absl::StrCat(R"({"prompt":"a","ignore_eos":true,"max_tokens":60000,"stream":)",
                                  stream, "}"));
    if (stream == std::string("true")) {
      EXPECT_EQ(endless.ReadHead().status, 200);
    }
    endless.Close();
    // The one place for a request is free again, long before 60,000 tokens.
    EXPECT_EQ(Complete(R"(,"max_tokens":2)")["usage"]["completion_tokens"], 2);
  }
}

TEST_F(HttpFrontendTest, AFullQueueIsToldApart) {
  StartReady({.ram_bytes = 64 << 20, .max_positions = 1 << 16, .max_running = 1, .max_waiting = 1});
  const std::string body = R"({"prompt":"a","ignore_eos":true,"max_tokens":60000,"stream":true})";
  RawHttp running(http_->address());
  running.SendPost("/v1/completions", body);
  EXPECT_EQ(running.ReadHead().status, 200);
  // Of two more, one finds a place to wait and the other none.
  const RawResponse refused = Post("/v1/completions", R"({"prompt":["a","b"]})");
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.headers.at("retry-after"), "1");
  EXPECT_EQ(Json::parse(refused.body)["error"]["code"], "rate_limit_exceeded");
}

TEST_F(HttpFrontendTest, ShutdownCancelsWhatLastsLongerThanTheGrace) {
  StartReady({.ram_bytes = 64 << 20, .max_positions = 1 << 16});
  RawHttp endless(http_->address());
  endless.SendPost("/v1/completions",
                   R"({"prompt":"a","ignore_eos":true,"max_tokens":60000,"stream":true})");
  EXPECT_EQ(endless.ReadHead().status, 200);
  http_->Shutdown(absl::Now());
  EXPECT_THAT(endless.ReadToEnd(), Not(HasSubstr("[DONE]")));
}

}  // namespace
}  // namespace reprise::api
