// RawHttp: HTTP by hand on a socket, so that a test can be as slow, rude or wrong as a client may
// be. Everything BLOCKS, for a minute at most. Thread-compatible.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "api/listen_address.h"
#include "cachestore/base/check.h"
#include "tests/api/raw_socket.h"

namespace reprise::api {

struct RawResponse {
  int status = 0;                              // 0: the connection ended before there was an answer
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;                            // chunks put together
  bool whole = false;                          // the body came to its end
};

class RawHttp {
 public:
  // `receive_bytes`: of the system's buffer for what was not read yet; 0: as usual.
  explicit RawHttp(const ListenAddress& address, int receive_bytes = 0)
      : socket_(address, receive_bytes) {}

  void Close() { socket_.Close(); }
  void Send(absl::string_view bytes) { socket_.Send(bytes); }
  // Sends `bytes` again and again until the server has had enough; how often it took them.
  int64_t SendUntilRefused(absl::string_view bytes) {
    int64_t times = 0;
    while (socket_.Send(bytes)) ++times;
    return times;
  }
  RawResponse Get(absl::string_view path) {
    Send(absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    return Read();
  }
  RawResponse Post(absl::string_view path, absl::string_view body) {
    SendPost(path, body);
    return Read();
  }
  void SendPost(absl::string_view path, absl::string_view body) {
    Send(absl::StrCat("POST ", path, " HTTP/1.1\r\nHost: localhost\r\n",
                      "Content-Type: application/json\r\nContent-Length: ", body.size(), "\r\n\r\n",
                      body));
  }

  // The next answer. `has_body` is false for that to HEAD.
  RawResponse Read(bool has_body = true) {
    RawResponse response = ReadHead();
    if (response.status == 0 || !has_body) return response;
    if (const auto found = response.headers.find("content-length");
        found != response.headers.end()) {
      int64_t length = 0;
      CHECK(absl::SimpleAtoi(found->second, &length));
      while (unread_.size() < static_cast<size_t>(length) && Receive()) {
      }
      response.whole = unread_.size() >= static_cast<size_t>(length);
      response.body = TakeBytes(static_cast<size_t>(length));
    } else if (response.headers.contains("transfer-encoding")) {
      ReadChunks(&response);
    } else {
      while (Receive()) {
      }
      response.body = TakeBytes(unread_.size());
      response.whole = true;
    }
    return response;
  }
  RawResponse ReadHead() {
    RawResponse response;
    std::string line;
    if (!ReadLine(&line) || line.size() < 12) return response;
    CHECK(absl::SimpleAtoi(line.substr(9, 3), &response.status));
    while (ReadLine(&line) && !line.empty()) {
      const size_t colon = line.find(':');
      response.headers[absl::AsciiStrToLower(line.substr(0, colon))] =
          std::string(absl::StripAsciiWhitespace(line.substr(colon + 1)));
    }
    return response;
  }
  // Up to the end of the connection.
  std::string ReadToEnd() {
    while (Receive()) {
    }
    return TakeBytes(unread_.size());
  }

 private:
  bool Receive() {
    char bytes[16384];
    const ssize_t got = socket_.Receive(bytes, sizeof(bytes));
    if (got <= 0) return false;
    unread_.append(bytes, static_cast<size_t>(got));
    return true;
  }
  std::string TakeBytes(size_t count) {
    const std::string taken = unread_.substr(0, count);
    unread_.erase(0, count);
    return taken;
  }
  bool ReadLine(std::string* line) {
    size_t end = unread_.find("\r\n");
    for (; end == std::string::npos; end = unread_.find("\r\n")) {
      if (!Receive()) return false;
    }
    *line = TakeBytes(end);
    TakeBytes(2);
    return true;
  }
  void ReadChunks(RawResponse* response) {
    std::string line;
    while (ReadLine(&line)) {
      size_t size = 0;
      CHECK(absl::SimpleHexAtoi(line, &size));
      while (unread_.size() < size + 2) {
        if (!Receive()) return;
      }
      response->body += TakeBytes(size);
      TakeBytes(2);
      if (size > 0) continue;
      response->whole = true;
      return;
    }
  }

  RawSocket socket_;
  std::string unread_;
};

}  // namespace reprise::api
