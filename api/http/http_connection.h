// HttpConnection, HttpExchange: one client's connection and one request on it. For http_server.cc
// alone: nobody else pays for Beast's headers. Beast parses and words HTTP, HttpStream moves bytes.
//
//   (TLS's handshake ->) idle -> header -> body -> answering -> idle or closed
//
// A connection lives on the server's one thread, kept alive by the operation that is under way and,
// while answering, by its exchange. Answers come from any thread into the exchange, which wakes the
// connection to write what is there. While answering, the connection listens for the client's end,
// so that a request nobody waits for any more ends.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "api/http/http_limits.h"
#include "api/http/http_message.h"
#include "api/http/http_stream.h"

namespace reprise::api {

class HttpConnection;
class HttpExchange;

// What a connection asks of its server. Called on the server's thread.
class HttpHost {
 public:
  virtual ~HttpHost() = default;
  // Room for a body of `bytes`, until it is given back; false: none now.
  virtual bool TakeBodyRoom(int64_t bytes) = 0;
  virtual void GiveBodyRoom(int64_t bytes) = 0;
  // An answer is awaited from now on; it has been written, or the client has gone.
  virtual void AnswerBegan() = 0;
  virtual void AnswerEnded() = 0;
  // A request is there. `exchange` is answered by somebody.
  virtual void Dispatch(HttpRequest request, std::shared_ptr<HttpExchange> exchange) = 0;
  virtual const HttpLimits& limits() const = 0;
  virtual HttpResponse Refusal(int status, absl::string_view cause) = 0;
  // Whether connections are to end with their answers.
  virtual bool draining() const = 0;
  virtual void Ended(HttpConnection* connection) = 0;
};

// The answer to one request on its way from any thread to the connection. Thread-safe.
class HttpExchange final : public HttpReply {
 public:
  // What the connection is to do next.
  struct Work {
    enum class Kind { kNothing, kWhole, kHead, kPieces, kEnd, kAbandoned };
    Kind kind = Kind::kNothing;
    HttpResponse response;  // of kWhole and kHead
    std::string pieces;     // of kPieces
  };

  // `io` runs as long as connections live. Of pieces at most `max_unsent_bytes` wait.
  HttpExchange(boost::asio::io_context* io, size_t max_unsent_bytes,
               std::shared_ptr<HttpConnection> connection);
  void Send(HttpResponse response) override ABSL_LOCKS_EXCLUDED(mu_);
  void Begin(HttpResponse head) override ABSL_LOCKS_EXCLUDED(mu_);
  void Write(absl::string_view piece) override ABSL_LOCKS_EXCLUDED(mu_);
  void End() override ABSL_LOCKS_EXCLUDED(mu_);
  void NotifyGone(std::function<void()> gone) override ABSL_LOCKS_EXCLUDED(mu_);

  // The handler will not answer any more: 500, unless it has.
  void Abandon() ABSL_LOCKS_EXCLUDED(mu_);

  // The connection's side. It was woken, or looks for itself; says whether to cut the client off.
  enum class Urgency { kNone, kCutOff };
  Urgency WakeUp() ABSL_LOCKS_EXCLUDED(mu_);
  Work Take() ABSL_LOCKS_EXCLUDED(mu_);
  // The answer is written whole; the connection is let go.
  void Finish() ABSL_LOCKS_EXCLUDED(mu_);
  // The client has gone; the connection is let go.
  void MarkGone() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // Lets the connection look for work, soon and on its thread.
  void WakeLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  boost::asio::io_context* const io_;
  const size_t max_unsent_bytes_;
  absl::Mutex mu_;
  // Null once the answer is written or the client has gone: nothing is sent then.
  std::shared_ptr<HttpConnection> connection_ ABSL_GUARDED_BY(mu_);
  std::optional<HttpResponse> whole_ ABSL_GUARDED_BY(mu_);
  std::optional<HttpResponse> head_ ABSL_GUARDED_BY(mu_);
  std::string pieces_ ABSL_GUARDED_BY(mu_);
  bool answered_ ABSL_GUARDED_BY(mu_) = false;  // Send, or Begin, was called
  bool ended_ ABSL_GUARDED_BY(mu_) = false;     // no pieces follow
  bool cut_off_ ABSL_GUARDED_BY(mu_) = false;
  bool abandoned_ ABSL_GUARDED_BY(mu_) = false;  // before it was answered
  bool woken_ ABSL_GUARDED_BY(mu_) = false;      // a wake-up is under way
  bool gone_ ABSL_GUARDED_BY(mu_) = false;
  std::function<void()> on_gone_ ABSL_GUARDED_BY(mu_);
};

// For the server's thread alone.
class HttpConnection : public std::enable_shared_from_this<HttpConnection> {
 public:
  // `host` and `io` must outlive the connection.
  HttpConnection(HttpHost* host, boost::asio::io_context* io, std::unique_ptr<HttpStream> stream);
  ~HttpConnection();

  void Start();
  // Answers 503 and closes: there are too many. In TLS it only closes: a handshake is too dear.
  void TurnAway();
  // Ends everything at once.
  void Close();
  // Writes what `exchange` has, unless a write is under way or the connection is done with it.
  void Pump(const HttpExchange* exchange);

 private:
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;
  using Done = std::function<void()>;
  using Kind = HttpExchange::Work::Kind;

  void AwaitRequest();
  // Reads into the buffer, once, and calls `then`; closes when the client has gone.
  void ReadSome(void (HttpConnection::*then)());
  void ReadHeader();
  void ParseHeader();
  void OnHeader();
  void ReadBody();
  void ParseBody();
  void OnRequest();
  // The parser has refused what was sent.
  void RefuseUnparsed(const boost::system::error_code& error);
  // Waits for the client's end while `exchange_` is answered. In TLS bytes may be there before it
  // that only the next read can make out; then the system is asked from time to time.
  void WatchClient();
  void WatchHangUp();

  // An answer of the connection itself, after which it closes.
  void Refuse(int status, absl::string_view cause);
  void WriteWhole(HttpResponse response, Done done);
  void WriteHead(HttpResponse head, Done done);
  void WritePieces(std::string pieces, Done done);
  void WriteEnd(Done done);
  // Writes `bytes`, of which `body_bytes` decide how long it may take; `done` when all is well.
  void Write(std::string bytes, int64_t body_bytes, Done done);
  void FinishAnswer();
  // Lets the client read what was written before the connection closes, and drops what it sends.
  void Linger();
  void EndOutput();
  void DropInput();

  void GiveBodyRoom();

  // How long `bytes` of a body or an answer may take.
  absl::Duration TimeFor(int64_t bytes) const;
  // What is under way on the connection may take so long.
  void Expect(absl::Duration time);

  HttpHost* const host_;
  const HttpLimits limits_;
  boost::asio::io_context* const io_;
  const std::unique_ptr<HttpStream> stream_;
  boost::beast::flat_buffer buffer_;
  std::optional<Parser> parser_;
  std::shared_ptr<HttpExchange> exchange_;  // while answering
  std::string writing_;                     // what a write under way reads
  std::string peer_;
  std::vector<std::string> certificate_names_;
  int64_t body_room_ = 0;  // taken from the host
  int64_t lingered_bytes_ = 0;
  bool head_only_ = false;  // the request was HEAD
  bool keep_alive_ = false;
  bool chunked_ = false;     // the client knows chunks (HTTP/1.1)
  bool write_busy_ = false;  // a write is under way
  bool closed_ = false;
};

}  // namespace reprise::api
