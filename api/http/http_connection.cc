#include "api/http/http_connection.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/chunk_encode.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/write.hpp>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "api/auth/tls_context.h"

namespace reprise::api {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;

using boost::system::error_code;

namespace {

constexpr size_t kReadBytes = 16 << 10;
// A client that is sent away may go on sending for so long, and so much, before it is cut off.
constexpr absl::Duration kLingerTime = absl::Seconds(2);
constexpr int64_t kLingerBytes = int64_t{16} << 20;
// How often it is asked whether a client has gone that nobody can wait for.
constexpr std::chrono::milliseconds kHangUpPoll(250);

// A machine that is lost is noticed after about as long as gRPC's keepalive takes (limits.h).
void SetSocketOptions(int fd) {
  const auto set = [fd](int level, int name, int value) {
    setsockopt(fd, level, name, &value, sizeof(value));  // of no effect on a Unix socket
  };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 60);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 10);
  set(IPPROTO_TCP, TCP_KEEPCNT, 2);
}

std::string PeerText(int fd) {
  sockaddr_storage address = {};
  socklen_t size = sizeof(address);
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return "";
  if (address.ss_family == AF_UNIX) {
    ucred peer = {};
    socklen_t peer_size = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_size) != 0) return "unix:";
    return absl::StrCat("unix:uid=", peer.uid);
  }
  char host[NI_MAXHOST];
  char port[NI_MAXSERV];
  if (getnameinfo(reinterpret_cast<sockaddr*>(&address), size, host, sizeof(host), port,
                  sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return "";
  }
  return address.ss_family == AF_INET6 ? absl::StrCat("[", host, "]:", port)
                                       : absl::StrCat(host, ":", port);
}

absl::string_view View(boost::core::string_view text) { return {text.data(), text.size()}; }

HttpRequest ToRequest(http::request<http::string_body>&& message) {
  HttpRequest request;
  request.method = std::string(View(message.method_string()));
  const absl::string_view target = View(message.target());
  request.path = std::string(target.substr(0, target.find('?')));
  for (const auto& field : message) {
    request.headers.emplace(absl::AsciiStrToLower(View(field.name_string())),
                            std::string(View(field.value())));
  }
  request.body = std::move(message.body());
  return request;
}

template <class Body>
void SetHead(const HttpResponse& response, http::response<Body>* message) {
  message->result(static_cast<unsigned>(response.status));
  message->set(http::field::server, "reprise");
  message->set(http::field::date,
               absl::FormatTime("%a, %d %b %Y %H:%M:%S GMT", absl::Now(), absl::UTCTimeZone()));
  message->set(http::field::content_type, response.content_type);
  for (const auto& [name, value] : response.headers) message->set(name, value);
}

}  // namespace

HttpConnection::HttpConnection(HttpHost* host, asio::io_context* io, HttpSocket socket, ssl_st* tls)
    : host_(host),
      limits_(host->limits()),
      io_(io),
      stream_(std::move(socket), tls),
      buffer_(limits_.header_bytes + 2 * kReadBytes) {
  const int fd = stream_.plain().socket().native_handle();
  SetSocketOptions(fd);
  peer_ = PeerText(fd);
}

HttpConnection::~HttpConnection() {
  GiveBodyRoom();
  host_->Ended(this);
}

absl::Duration HttpConnection::TimeFor(int64_t bytes) const {
  return limits_.transfer_time + absl::Seconds(bytes / limits_.bytes_per_second);
}

void HttpConnection::Expect(absl::Duration time) {
  stream_.plain().expires_after(absl::ToChronoNanoseconds(time));
}

void HttpConnection::GiveBodyRoom() {
  if (body_room_ > 0) host_->GiveBodyRoom(body_room_);
  body_room_ = 0;
}

void HttpConnection::Close() {
  if (closed_) return;
  closed_ = true;
  stream_.plain().close();
  GiveBodyRoom();
  if (exchange_ == nullptr) return;
  const std::shared_ptr<HttpExchange> exchange = std::move(exchange_);
  exchange->MarkGone();
  host_->AnswerEnded();
}

void HttpConnection::Start() {
  if (!stream_.is_tls()) return AwaitRequest();
  Expect(limits_.header_time);
  stream_.async_handshake([self = shared_from_this()](error_code error) {
    if (error || self->closed_) return self->Close();
    self->certificate_names_ = VerifiedNames(self->stream_.tls_state());
    self->AwaitRequest();
  });
}

void HttpConnection::AwaitRequest() {
  if (buffer_.size() > 0) return ReadHeader();  // sent before the last answer was read
  Expect(limits_.idle_time);
  stream_.async_read_some(buffer_.prepare(kReadBytes),
                          [self = shared_from_this()](error_code error, size_t bytes) {
                            if (error || self->closed_) return self->Close();
                            self->buffer_.commit(bytes);
                            self->ReadHeader();
                          });
}

void HttpConnection::ReadHeader() {
  parser_.emplace();
  parser_->header_limit(limits_.header_bytes);
  parser_->body_limit(static_cast<uint64_t>(limits_.body_bytes));
  Expect(limits_.header_time);
  http::async_read_header(
      stream_, buffer_, *parser_, [self = shared_from_this()](error_code error, size_t) {
        if (self->closed_) return;
        if (!error) return self->OnHeader();
        if (error == http::error::header_limit || error == http::error::buffer_overflow) {
          return self->Refuse(431, absl::StrCat("the headers are longer than ",
                                                self->limits_.header_bytes, " bytes"));
        }
        if (error == http::error::body_limit) {
          return self->Refuse(
              413, absl::StrCat("the body is longer than ", self->limits_.body_bytes, " bytes"));
        }
        const bool malformed = error.category() == http::make_error_code(http::error{}).category();
        if (malformed && error != http::error::end_of_stream &&
            error != http::error::partial_message) {
          return self->Refuse(400, absl::StrCat("this is not HTTP: ", error.message()));
        }
        self->Close();
      });
}

void HttpConnection::OnHeader() {
  const auto& head = parser_->get();
  head_only_ = head.method() == http::verb::head;
  keep_alive_ = head.keep_alive();
  chunked_ = head.version() >= 11;
  if (parser_->is_done()) return OnRequest();
  const auto length = parser_->content_length();
  const int64_t room = length.has_value() ? static_cast<int64_t>(*length) : limits_.body_bytes;
  if (!host_->TakeBodyRoom(room)) {
    return Refuse(503, "too many requests are being read; try again later");
  }
  body_room_ = room;
  if (!beast::iequals(head[http::field::expect], "100-continue")) return ReadBody();
  writing_ = "HTTP/1.1 100 Continue\r\n\r\n";
  asio::async_write(stream_, asio::buffer(writing_),
                    [self = shared_from_this()](error_code error, size_t) {
                      if (error) return self->Close();
                      self->ReadBody();
                    });
}

void HttpConnection::ReadBody() {
  Expect(TimeFor(body_room_));
  http::async_read(
      stream_, buffer_, *parser_, [self = shared_from_this()](error_code error, size_t) {
        if (self->closed_) return;
        if (!error) return self->OnRequest();
        if (error == http::error::body_limit) {
          return self->Refuse(
              413, absl::StrCat("the body is longer than ", self->limits_.body_bytes, " bytes"));
        }
        self->Close();
      });
}

void HttpConnection::OnRequest() {
  stream_.plain().expires_never();
  HttpRequest request = ToRequest(parser_->release());
  parser_.reset();
  // Room for a body in chunks was taken for the longest one.
  const int64_t unused = body_room_ - std::ssize(request.body);
  if (unused > 0) {
    host_->GiveBodyRoom(unused);
    body_room_ -= unused;
  }
  request.received = absl::Now();
  request.peer = peer_;
  request.certificate_names = certificate_names_;
  exchange_ = std::make_shared<HttpExchange>(io_, limits_.unsent_bytes, shared_from_this());
  host_->AnswerBegan();
  WatchClient();
  host_->Dispatch(std::move(request), exchange_);
}

void HttpConnection::WatchClient() {
  if (buffer_.size() > 0) return;  // the next request is there; how it ends shows when writing
  stream_.plain().socket().async_wait(
      asio::socket_base::wait_read,
      [self = shared_from_this(), watched = exchange_.get()](error_code error) {
        if (error || self->closed_ || self->exchange_.get() != watched) return;
        char byte;
        const ssize_t got =
            recv(self->stream_.plain().socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        if (got > 0 && self->stream_.is_tls()) return self->WatchHangUp();
        if (got > 0) return;  // as above
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) return self->WatchClient();
        self->Close();
      });
}

void HttpConnection::WatchHangUp() {
  const auto timer = std::make_shared<asio::steady_timer>(*io_, kHangUpPoll);
  timer->async_wait([self = shared_from_this(), timer,
                     watched = exchange_.get()](error_code error) {
    if (error || self->closed_ || self->exchange_.get() != watched) return;
    pollfd socket = {
        .fd = self->stream_.plain().socket().native_handle(), .events = POLLRDHUP, .revents = 0};
    if (poll(&socket, 1, 0) > 0) return self->Close();
    self->WatchHangUp();
  });
}

void HttpConnection::Pump(const HttpExchange* exchange) {
  if (closed_ || exchange_.get() != exchange) return;
  // A write that the client does not read would go on until its time is over.
  if (exchange_->WakeUp() == HttpExchange::Urgency::kCutOff) return Close();
  if (write_busy_) return;
  HttpExchange::Work work = exchange_->Take();
  const Done go_on = [this, exchange] { Pump(exchange); };
  const Done finish = [this] { FinishAnswer(); };
  switch (work.kind) {
    case Kind::kNothing:
      return;
    case Kind::kAbandoned:
      return WriteWhole(host_->Refusal(500, "the server failed to answer this"), finish);
    case Kind::kWhole:
      return WriteWhole(std::move(work.response), finish);
    case Kind::kHead:
      return WriteHead(std::move(work.response), go_on);
    case Kind::kPieces:
      return WritePieces(std::move(work.pieces), go_on);
    case Kind::kEnd:
      return WriteEnd(finish);
  }
}

void HttpConnection::WriteWhole(HttpResponse response, Done done) {
  if (host_->draining()) keep_alive_ = false;
  const auto write = [this, &done](const auto& message) {
    write_busy_ = true;
    Expect(TimeFor(static_cast<int64_t>(message->payload_size().value_or(0))));
    http::async_write(stream_, *message,
                      [self = shared_from_this(), message, done](error_code error, size_t) {
                        self->OnWritten(!error, done);
                      });
  };
  const unsigned version = chunked_ ? 11 : 10;
  if (head_only_) {
    const auto message = std::make_shared<http::response<http::empty_body>>();
    message->version(version);
    SetHead(response, message.get());
    message->keep_alive(keep_alive_);
    message->content_length(response.body.size());
    return write(message);
  }
  const auto message = std::make_shared<http::response<http::string_body>>();
  message->version(version);
  SetHead(response, message.get());
  message->keep_alive(keep_alive_);
  message->body() = std::move(response.body);
  message->prepare_payload();
  write(message);
}

void HttpConnection::WriteHead(HttpResponse head, Done done) {
  // Without chunks the end of the connection is the end of the answer.
  if (host_->draining() || !chunked_) keep_alive_ = false;
  const auto message = std::make_shared<http::response<http::empty_body>>();
  message->version(chunked_ ? 11 : 10);
  SetHead(head, message.get());
  message->keep_alive(keep_alive_);
  message->chunked(chunked_);
  const auto serializer = std::make_shared<http::response_serializer<http::empty_body>>(*message);
  write_busy_ = true;
  Expect(TimeFor(0));
  http::async_write_header(stream_, *serializer,
                           [self = shared_from_this(), message, serializer, done = std::move(done)](
                               error_code error, size_t) { self->OnWritten(!error, done); });
}

void HttpConnection::WritePieces(std::string pieces, Done done) {
  writing_ = std::move(pieces);
  write_busy_ = true;
  Expect(TimeFor(static_cast<int64_t>(writing_.size())));
  const auto written = [self = shared_from_this(), done = std::move(done)](
                           error_code error, size_t) { self->OnWritten(!error, done); };
  if (chunked_) {
    asio::async_write(stream_, http::make_chunk(asio::const_buffer(asio::buffer(writing_))),
                      written);
  } else {
    asio::async_write(stream_, asio::buffer(writing_), written);
  }
}

void HttpConnection::WriteEnd(Done done) {
  if (!chunked_) return done();
  write_busy_ = true;
  Expect(TimeFor(0));
  asio::async_write(stream_, http::make_chunk_last(),
                    [self = shared_from_this(), done = std::move(done)](error_code error, size_t) {
                      self->OnWritten(!error, done);
                    });
}

void HttpConnection::OnWritten(bool ok, const Done& done) {
  write_busy_ = false;
  if (closed_) return;
  if (!ok) return Close();
  stream_.plain().expires_never();
  done();
}

void HttpConnection::FinishAnswer() {
  GiveBodyRoom();
  if (exchange_ != nullptr) {
    const std::shared_ptr<HttpExchange> exchange = std::move(exchange_);
    exchange->Finish();
    host_->AnswerEnded();
  }
  if (keep_alive_) return AwaitRequest();
  Linger();
}

void HttpConnection::Refuse(int status, absl::string_view cause) {
  keep_alive_ = false;
  chunked_ = true;
  WriteWhole(host_->Refusal(status, cause), [this] { FinishAnswer(); });
}

void HttpConnection::TurnAway() {
  if (stream_.is_tls()) return Close();
  Refuse(503, absl::StrCat("this server has ", limits_.connections,
                           " connections, as many as it takes; try again later"));
}

void HttpConnection::Linger() {
  if (!stream_.is_tls()) return EndOutput();
  Expect(kLingerTime);
  // It fails when the client goes on sending; what it was sent is whole all the same.
  stream_.async_goodbye([self = shared_from_this()](error_code) {
    if (!self->closed_) self->EndOutput();
  });
}

void HttpConnection::EndOutput() {
  error_code ignored;
  stream_.plain().socket().shutdown(asio::socket_base::shutdown_send, ignored);
  Expect(kLingerTime);
  DropInput();
}

void HttpConnection::DropInput() {
  buffer_.clear();
  stream_.plain().async_read_some(buffer_.prepare(kReadBytes),
                                  [self = shared_from_this()](error_code error, size_t bytes) {
                                    if (self->closed_) return;
                                    self->lingered_bytes_ += static_cast<int64_t>(bytes);
                                    if (error || self->lingered_bytes_ > kLingerBytes)
                                      return self->Close();
                                    self->DropInput();
                                  });
}

}  // namespace reprise::api
