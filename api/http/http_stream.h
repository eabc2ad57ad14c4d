// HttpStream: the bytes of one connection, as they are or in TLS, with a time limit on what is
// under way. The one place where Asio's streams are compiled, which takes long. For the server's
// thread alone; it calls back there, and never from within the call that began something.
//
// At most one read and one write at a time. The stream must outlive what is under way on it.
#pragma once

#include <boost/asio/generic/stream_protocol.hpp>
#include <cstddef>
#include <functional>
#include <memory>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

using ssl_st = struct ssl_st;

namespace reprise::api {

using HttpSocket = boost::asio::generic::stream_protocol::socket;

class HttpStream {
 public:
  // `ok` is false when the client has gone, the time was over, or the stream was closed.
  using Done = std::function<void(bool ok)>;
  using ReadDone = std::function<void(bool ok, size_t bytes)>;

  // Owns `tls`, TLS's state of a server's connection; null: no TLS.
  HttpStream(HttpSocket socket, ssl_st* tls);
  ~HttpStream();
  HttpStream(const HttpStream&) = delete;
  HttpStream& operator=(const HttpStream&) = delete;

  bool is_tls() const;
  // REQUIRES: is_tls().
  ssl_st* tls_state();
  // The socket.
  int descriptor();

  // What begins from now on may take so long, all together; infinite: for ever.
  void Expect(absl::Duration time);

  // Some bytes, at least one, into `to`, which has room for `bytes`.
  void Read(char* to, size_t bytes, ReadDone done);
  // The same, of what is on the wire: without TLS's help.
  void ReadRaw(char* to, size_t bytes, ReadDone done);
  // All of `bytes`, which stay as they are until it is done.
  void Write(absl::string_view bytes, Done done);

  // The beginning of TLS, and its end, for which it waits for the client's. REQUIRES: is_tls().
  void Handshake(Done done);
  void Goodbye(Done done);

  // When there is something to read, or the client has ended; it need not be read.
  void AwaitInput(Done done);
  // After `time`, whatever else is under way.
  void Wait(absl::Duration time, Done done);

  // The client sees the end of what it was sent.
  void EndOutput();
  void Close();

 private:
  struct Layers;
  const std::unique_ptr<Layers> layers_;
};

}  // namespace reprise::api
