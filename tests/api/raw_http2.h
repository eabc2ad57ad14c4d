// RawHttp2: gRPC calls by hand on one HTTP/2 connection, so that a test can send what no gRPC
// client sends, and take nothing. Answers are counted, not read. Everything BLOCKS, for a minute at
// most. Thread-compatible.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "api/listen_address.h"
#include "cachestore/base/check.h"
#include "tests/api/raw_socket.h"

namespace reprise::api {

class RawHttp2 {
 public:
  using Headers = std::vector<std::pair<std::string, std::string>>;

  // `window`: how many bytes of an answer may come that nobody has asked for.
  RawHttp2(const ListenAddress& address, uint32_t window) : socket_(address) {
    constexpr uint64_t kInitialWindowSize = 4;
    socket_.Send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    SendFrame(kSettings, 0, 0, absl::StrCat(Number(kInitialWindowSize, 2), Number(window, 4)));
  }

  // Calls `path` with an empty message. `headers` go between those that begin with a colon and
  // gRPC's own.
  void Call(absl::string_view path, const Headers& headers) {
    std::string block = absl::StrCat(Header(":method", "POST"), Header(":scheme", "http"),
                                     Header(":path", path), Header(":authority", "localhost"));
    for (const auto& [name, value] : headers) absl::StrAppend(&block, Header(name, value));
    absl::StrAppend(&block, Header("content-type", "application/grpc"), Header("te", "trailers"));
    SendFrame(kHeaders, kEndHeaders, next_stream_, block);
    SendFrame(kData, kEndStream, next_stream_, std::string(5, '\0'));
    next_stream_ += 2;
  }

  // Reads on until `calls` calls have ended, of all that there were. False: the connection has.
  bool AwaitEnds(int calls) {
    while (ends_ < calls) {
      std::string head;
      if (!Receive(9, &head)) return false;
      const auto byte = [&head](size_t i) { return static_cast<uint8_t>(head[i]); };
      std::string payload;
      if (!Receive(size_t{byte(0)} << 16 | size_t{byte(1)} << 8 | byte(2), &payload)) return false;
      const uint8_t type = byte(3);
      const bool last = (type == kData || type == kHeaders) && (byte(4) & kEndStream) != 0;
      if (last || type == kReset) ++ends_;
      if (type == kSettings && (byte(4) & kAck) == 0) SendFrame(kSettings, kAck, 0, "");
    }
    return true;
  }

 private:
  static constexpr uint8_t kData = 0, kHeaders = 1, kReset = 3, kSettings = 4;  // types of frames
  static constexpr uint8_t kAck = 1, kEndStream = 1, kEndHeaders = 4;           // their flags

  static std::string Number(uint64_t value, int bytes) {
    std::string text;
    for (int i = bytes - 1; i >= 0; --i) text.push_back(static_cast<char>(value >> (8 * i)));
    return text;
  }
  // A literal that is not indexed; a length has 7 bits.
  static std::string Header(absl::string_view name, absl::string_view value) {
    CHECK(name.size() < 127 && value.size() < 127);
    return absl::StrCat(Number(0, 1), Number(name.size(), 1), name, Number(value.size(), 1), value);
  }
  void SendFrame(uint8_t type, uint8_t flags, uint32_t stream, absl::string_view payload) {
    socket_.Send(absl::StrCat(Number(payload.size(), 3), Number(type, 1), Number(flags, 1),
                              Number(stream, 4), payload));
  }
  bool Receive(size_t size, std::string* bytes) {
    bytes->resize(size);
    return size == 0 ||
           socket_.Receive(bytes->data(), size, MSG_WAITALL) == static_cast<ssize_t>(size);
  }

  RawSocket socket_;
  uint32_t next_stream_ = 1;
  int ends_ = 0;
};

}  // namespace reprise::api
