// HttpRequest, HttpResponse, HttpReply, HttpHandler: what the HTTP server and what it serves say to
// each other. Plain data and two interfaces; no header of an HTTP library.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace reprise::api {

struct HttpRequest {
  std::string method;                          // as sent: "GET"
  std::string path;                            // of the target, without its query
  std::map<std::string, std::string> headers;  // by name in lower case; the first of each name
  std::string body;
  std::string peer;  // "127.0.0.1:40112", "[::1]:40112" or, of a Unix socket, "unix:uid=1000"
  std::vector<std::string> certificate_names;  // of the client, verified by TLS
  absl::Time received;                         // when it was whole

  // Empty when it is not there. `name` is in lower case.
  absl::string_view Header(absl::string_view name) const {
    const auto found = headers.find(std::string(name));
    return found == headers.end() ? absl::string_view() : absl::string_view(found->second);
  }
};

struct HttpResponse {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string content_type = "application/json";
  std::string body;
};

// The answer to one request: Send, or Begin, then Write any number of times, then End. One that is
// destroyed before its end is answered 500, or cut off. Never blocks; thread-safe.
class HttpReply {
 public:
  virtual ~HttpReply() = default;

  virtual void Send(HttpResponse response) = 0;
  // `head.body` is empty.
  virtual void Begin(HttpResponse head) = 0;
  // A client that has too much to read yet (HttpLimits::unsent_bytes) is cut off instead.
  virtual void Write(absl::string_view piece) = 0;
  virtual void End() = 0;

  // Calls `gone` once when the client goes, or is cut off, before the answer has ended; at once
  // when it has gone already. What is sent from then on is dropped.
  virtual void NotifyGone(std::function<void()> gone) = 0;

  // For the log, before the end: how many tokens of the prompt were cached, and what a stream ends
  // with that had begun well.
  virtual void NoteHit(int64_t tokens) {}
  virtual void NoteFailure(const absl::Status& status) {}
};

class HttpHandler {
 public:
  virtual ~HttpHandler() = default;

  // Called on the server's own thread, so it must be quick. Empty: Handle is called.
  virtual std::optional<HttpResponse> AnswerAtOnce(const HttpRequest& request) = 0;
  // Called on a worker thread; may take the time to tokenize. What it throws is answered 500.
  virtual void Handle(HttpRequest request, std::shared_ptr<HttpReply> reply) = 0;
  // What is wrong with a request that never became one, as the handler words it.
  virtual HttpResponse Refusal(int status, absl::string_view cause) = 0;
};

}  // namespace reprise::api
