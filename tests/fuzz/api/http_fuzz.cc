// What comes over an HTTP connection, byte by byte: request lines, headers, bodies, several in a
// row. The real listener takes it, before a served model, twice: open to all, and asking for
// credentials. It never crashes, answers in HTTP whatever was asked, lets nobody in who does not
// show a token, and leaves no connection open. "TOKEN" in an input stands for one of a tenant.
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "api/http/http_frontend.h"
#include "api/log/request_ids.h"
#include "cachestore/base/check.h"
#include "engine/json/json_text.h"
#include "tests/api/credentials_fixture.h"
#include "tests/api/raw_socket.h"
#include "tests/api/test_server.h"

namespace reprise::api {
namespace {

constexpr char kToken[] = "TOKEN";
// What comes before the answer where a client asks whether it may send the body.
constexpr char kGoOn[] = "HTTP/1.1 100 Continue\r\n\r\n";
// What the server does not answer within this it may take for the whole of what the client says.
constexpr absl::Duration kPatience = absl::Milliseconds(10);

// The first answer on a connection.
struct Answer {
  int status = 0;  // 0: none
  std::string content_type;
  bool is_whole = false;  // as long as its head says
  std::string body;
};

// Reads the head of the answer, line by line, and what is there of its body.
Answer ParseAnswer(absl::string_view bytes) {
  Answer answer;
  absl::ConsumePrefix(&bytes, kGoOn);
  const size_t end = bytes.find("\r\n\r\n");
  if (bytes.empty() || end == bytes.npos) return answer;
  const std::vector<std::string> lines = absl::StrSplit(bytes.substr(0, end), "\r\n");
  CHECK(absl::StartsWith(lines[0], "HTTP/1."));
  CHECK(absl::SimpleAtoi(lines[0].substr(9, 3), &answer.status));
  CHECK(answer.status >= 200 && answer.status < 600);
  size_t length = 0;
  bool has_length = false;
  for (size_t i = 1; i < lines.size(); ++i) {
    const std::pair<std::string, std::string> field =
        absl::StrSplit(lines[i], absl::MaxSplits(": ", 1));
    CHECK(!field.first.empty() && field.second.find_first_of("\r\n") == field.second.npos);
    if (absl::EqualsIgnoreCase(field.first, "content-type")) answer.content_type = field.second;
    if (absl::EqualsIgnoreCase(field.first, "content-length")) {
      CHECK(absl::SimpleAtoi(field.second, &length));
      has_length = true;
    }
    if (absl::EqualsIgnoreCase(field.first, kRequestIdHeader)) {
      CHECK(MakeRequestIds(field.second, "").request_id == field.second);
    }
  }
  answer.body = std::string(bytes.substr(end + 4, has_length ? length : bytes.npos));
  answer.is_whole = has_length && answer.body.size() == length;
  return answer;
}

class Target {
 public:
  Target() : log_({.format = LogFormat::kJson, .level = LogLevel::kDebug}, Nowhere()) {
    guard_ = *Guard::Open({.credentials_file = credentials_.path()});
    open_ = Listen(&server_.guard());
    guarded_ = Listen(guard_.get());
  }

  void Run(const std::string& input) {
    Check(Talk(*open_, input));
    const std::string with_token = absl::StrReplaceAll(input, {{kToken, credentials_.alice}});
    const Answer guarded = Check(Talk(*guarded_, with_token));
    // Probes alone are for everybody.
    if (with_token == input && guarded.status == 200) {
      CHECK(guarded.body.empty() || guarded.body == "ok\n");
    }
  }

 private:
  static std::FILE* Nowhere() {
    std::FILE* const file = std::fopen("/dev/null", "w");
    CHECK(file != nullptr);
    return file;
  }

  std::unique_ptr<HttpFrontend> Listen(Guard* guard) {
    auto http = HttpFrontend::Start(*ParseListenAddress("127.0.0.1:0"), guard, &log_);
    CHECK(http.ok());
    ServedParts parts;
    parts.store = &server_.store();
    parts.engine = &server_.engine();
    parts.model_name = "tiny";
    (*http)->SetReady(parts, server_.server());
    return *std::move(http);
  }

  // All that the server says to the bytes, until it closes.
  static std::string Talk(const HttpFrontend& http, const std::string& bytes) {
    RawSocket socket(http.address());
    socket.Send(bytes);
    std::string said;
    char piece[4096];
    bool said_all = false;
    while (true) {
      if (!said_all && !socket.AwaitBytes(kPatience)) {
        socket.EndOutput();
        said_all = true;
      }
      const ssize_t n = socket.Receive(piece, sizeof(piece));
      CHECK(n >= 0 || errno != EAGAIN);  // it would wait for ever
      if (n <= 0) return said;
      said.append(piece, static_cast<size_t>(n));
    }
  }

  static Answer Check(const std::string& said) {
    Answer answer = ParseAnswer(said);
    if (answer.status >= 400 && answer.is_whole && !answer.body.empty() &&
        absl::StartsWith(answer.content_type, "application/json")) {
      CHECK(engine::ParseJson(answer.body, "error").ok());
    }
    return answer;
  }

  const TestCredentials credentials_;
  TestServer server_{TestServer::Options{.ram_bytes = 4 << 20, .disk_bytes = 0}};
  CallLog log_;
  std::unique_ptr<Guard> guard_;
  std::unique_ptr<HttpFrontend> open_;
  std::unique_ptr<HttpFrontend> guarded_;
};

}  // namespace
}  // namespace reprise::api

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static auto* const target = new reprise::api::Target;
  target->Run(std::string(reinterpret_cast<const char*>(data), size));
  return 0;
}
