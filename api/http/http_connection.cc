#include "api/http/http_connection.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/http/chunk_encode.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/message.hpp>
#include <cerrno>
#include <cstddef>
#include <optional>
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
constexpr absl::Duration kHangUpPoll = absl::Milliseconds(250);

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

// What every answer begins with, but for how its body is told apart from what follows.
http::response<http::empty_body> HeadOf(const HttpResponse& response, bool http11) {
  http::response<http::empty_body> head;
  head.version(http11 ? 11 : 10);
  head.result(static_cast<unsigned>(response.status));
  head.set(http::field::server, "reprise");
  head.set(http::field::date,
           absl::FormatTime("%a, %d %b %Y %H:%M:%S GMT", absl::Now(), absl::UTCTimeZone()));
  head.set(http::field::content_type, response.content_type);
  for (const auto& [name, value] : response.headers) head.set(name, value);
  return head;
}

std::string TextOf(const http::response<http::empty_body>& head) {
  http::fields::writer writer(head, head.version(), head.result_int());
  return beast::buffers_to_string(writer.get());
}

}  // namespace

HttpConnection::HttpConnection(HttpHost* host, asio::io_context* io,
                               std::unique_ptr<HttpStream> stream)
    : host_(host),
      limits_(host->limits()),
      io_(io),
      stream_(std::move(stream)),
      buffer_(limits_.header_bytes + 2 * kReadBytes) {
  SetSocketOptions(stream_->descriptor());
  peer_ = PeerText(stream_->descriptor());
}

HttpConnection::~HttpConnection() {
  GiveBodyRoom();
  host_->Ended(this);
}

absl::Duration HttpConnection::TimeFor(int64_t bytes) const {
  return limits_.transfer_time + absl::Seconds(bytes / limits_.bytes_per_second);
}

void HttpConnection::Expect(absl::Duration time) { stream_->Expect(time); }

void HttpConnection::GiveBodyRoom() {
  if (body_room_ > 0) host_->GiveBodyRoom(body_room_);
  body_room_ = 0;
}

void HttpConnection::Close() {
  if (closed_) return;
  closed_ = true;
  stream_->Close();
  GiveBodyRoom();
  if (exchange_ == nullptr) return;
  const std::shared_ptr<HttpExchange> exchange = std::move(exchange_);
  exchange->MarkGone();
  host_->AnswerEnded();
}

void HttpConnection::Start() {
  if (!stream_->is_tls()) return AwaitRequest();
  Expect(limits_.header_time);
  stream_->Handshake([self = shared_from_this()](bool ok) {
    if (!ok || self->closed_) return self->Close();
    self->certificate_names_ = VerifiedNames(self->stream_->tls_state());
    self->AwaitRequest();
  });
}

void HttpConnection::ReadSome(void (HttpConnection::*then)()) {
  // Filled by no header, whose length is limited, but by the line before a chunk.
  if (buffer_.size() + kReadBytes > buffer_.max_size()) return Close();
  const auto room = buffer_.prepare(kReadBytes);
  stream_->Read(static_cast<char*>(room.data()), room.size(),
                [self = shared_from_this(), then](bool ok, size_t bytes) {
                  if (!ok || self->closed_) return self->Close();
                  self->buffer_.commit(bytes);
                  (self.get()->*then)();
                });
}

void HttpConnection::AwaitRequest() {
  if (buffer_.size() > 0) return ReadHeader();  // sent before the last answer was read
  Expect(limits_.idle_time);
  ReadSome(&HttpConnection::ReadHeader);
}

void HttpConnection::ReadHeader() {
  parser_.emplace();
  parser_->header_limit(limits_.header_bytes);
  parser_->body_limit(static_cast<uint64_t>(limits_.body_bytes));
  Expect(limits_.header_time);
  ParseHeader();
}

void HttpConnection::ParseHeader() {
  error_code error;
  buffer_.consume(parser_->put(buffer_.data(), error));
  if (error && error != http::error::need_more) return RefuseUnparsed(error);
  if (parser_->is_header_done()) return OnHeader();
  ReadSome(&HttpConnection::ParseHeader);
}

void HttpConnection::RefuseUnparsed(const error_code& error) {
  if (error == http::error::header_limit) {
    return Refuse(431,
                  absl::StrCat("the headers are longer than ", limits_.header_bytes, " bytes"));
  }
  if (error == http::error::body_limit) {
    return Refuse(413, absl::StrCat("the body is longer than ", limits_.body_bytes, " bytes"));
  }
  Refuse(400, absl::StrCat("this is not HTTP: ", error.message()));
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
  stream_->Write(writing_, [self = shared_from_this()](bool ok) {
    if (!ok || self->closed_) return self->Close();
    self->ReadBody();
  });
}

void HttpConnection::ReadBody() {
  Expect(TimeFor(body_room_));
  parser_->eager(true);
  ParseBody();
}

void HttpConnection::ParseBody() {
  error_code error;
  if (buffer_.size() > 0) buffer_.consume(parser_->put(buffer_.data(), error));
  if (error && error != http::error::need_more) return RefuseUnparsed(error);
  if (parser_->is_done()) return OnRequest();
  ReadSome(&HttpConnection::ParseBody);
}

void HttpConnection::OnRequest() {
  Expect(absl::InfiniteDuration());
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
  stream_->AwaitInput([self = shared_from_this(), watched = exchange_.get()](bool ok) {
    if (!ok || self->closed_ || self->exchange_.get() != watched) return;
    char byte;
    const ssize_t got = recv(self->stream_->descriptor(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (got > 0 && self->stream_->is_tls()) return self->WatchHangUp();
    if (got > 0) return;  // as above
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return self->WatchClient();
    self->Close();
  });
}

void HttpConnection::WatchHangUp() {
  stream_->Wait(kHangUpPoll, [self = shared_from_this(), watched = exchange_.get()](bool ok) {
    if (!ok || self->closed_ || self->exchange_.get() != watched) return;
    pollfd socket = {.fd = self->stream_->descriptor(), .events = POLLRDHUP, .revents = 0};
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
  auto head = HeadOf(response, chunked_);
  head.keep_alive(keep_alive_);
  head.content_length(response.body.size());
  std::string bytes = head_only_ ? std::string() : std::move(response.body);
  const int64_t body_bytes = std::ssize(bytes);
  bytes.insert(0, TextOf(head));
  Write(std::move(bytes), body_bytes, std::move(done));
}

void HttpConnection::WriteHead(HttpResponse response, Done done) {
  // Without chunks the end of the connection is the end of the answer.
  if (host_->draining() || !chunked_) keep_alive_ = false;
  auto head = HeadOf(response, chunked_);
  head.keep_alive(keep_alive_);
  head.chunked(chunked_);
  Write(TextOf(head), 0, std::move(done));
}

void HttpConnection::WritePieces(std::string pieces, Done done) {
  const int64_t bytes = std::ssize(pieces);
  if (chunked_) pieces = beast::buffers_to_string(http::make_chunk(asio::buffer(pieces)));
  Write(std::move(pieces), bytes, std::move(done));
}

void HttpConnection::WriteEnd(Done done) {
  if (!chunked_) return done();
  Write(beast::buffers_to_string(http::make_chunk_last()), 0, std::move(done));
}

void HttpConnection::Write(std::string bytes, int64_t body_bytes, Done done) {
  writing_ = std::move(bytes);
  write_busy_ = true;
  Expect(TimeFor(body_bytes));
  stream_->Write(writing_, [self = shared_from_this(), done = std::move(done)](bool ok) {
    self->write_busy_ = false;
    if (self->closed_) return;
    if (!ok) return self->Close();
    self->Expect(absl::InfiniteDuration());
    done();
  });
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
  if (stream_->is_tls()) return Close();
  Refuse(503, absl::StrCat("this server has ", limits_.connections,
                           " connections, as many as it takes; try again later"));
}

void HttpConnection::Linger() {
  if (!stream_->is_tls()) return EndOutput();
  Expect(kLingerTime);
  // It fails when the client goes on sending; what it was sent is whole all the same.
  stream_->Goodbye([self = shared_from_this()](bool) {
    if (!self->closed_) self->EndOutput();
  });
}

void HttpConnection::EndOutput() {
  stream_->EndOutput();
  Expect(kLingerTime);
  DropInput();
}

void HttpConnection::DropInput() {
  buffer_.clear();
  const auto room = buffer_.prepare(kReadBytes);
  stream_->ReadRaw(static_cast<char*>(room.data()), room.size(),
                   [self = shared_from_this()](bool ok, size_t bytes) {
                     if (self->closed_) return;
                     self->lingered_bytes_ += static_cast<int64_t>(bytes);
                     if (!ok || self->lingered_bytes_ > kLingerBytes) return self->Close();
                     self->DropInput();
                   });
}

}  // namespace reprise::api
