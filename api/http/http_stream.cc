#include "api/http/http_stream.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <optional>
#include <utility>

namespace reprise::api {

namespace asio = boost::asio;

using boost::system::error_code;
using Plain = boost::beast::basic_stream<asio::generic::stream_protocol>;
using Tls = asio::ssl::stream<Plain&>;

struct HttpStream::Layers {
  Plain plain;
  std::optional<Tls> tls;
};

HttpStream::HttpStream(HttpSocket socket, ssl_st* tls)
    : layers_(new Layers{.plain = Plain(std::move(socket)), .tls = {}}) {
  if (tls != nullptr) layers_->tls.emplace(layers_->plain, tls);
}

HttpStream::~HttpStream() = default;

bool HttpStream::is_tls() const { return layers_->tls.has_value(); }
ssl_st* HttpStream::tls_state() { return layers_->tls->native_handle(); }
int HttpStream::descriptor() { return layers_->plain.socket().native_handle(); }

void HttpStream::Expect(absl::Duration time) {
  if (time == absl::InfiniteDuration()) return layers_->plain.expires_never();
  layers_->plain.expires_after(absl::ToChronoNanoseconds(time));
}

void HttpStream::Read(char* to, size_t bytes, ReadDone done) {
  if (!is_tls()) return ReadRaw(to, bytes, std::move(done));
  layers_->tls->async_read_some(
      asio::buffer(to, bytes),
      [done = std::move(done)](error_code error, size_t got) { done(!error, got); });
}

void HttpStream::ReadRaw(char* to, size_t bytes, ReadDone done) {
  layers_->plain.async_read_some(
      asio::buffer(to, bytes),
      [done = std::move(done)](error_code error, size_t got) { done(!error, got); });
}

void HttpStream::Write(absl::string_view bytes, Done done) {
  const auto buffer = asio::const_buffer(bytes.data(), bytes.size());
  auto written = [done = std::move(done)](error_code error, size_t) { done(!error); };
  if (is_tls()) {
    asio::async_write(*layers_->tls, buffer, std::move(written));
  } else {
    asio::async_write(layers_->plain, buffer, std::move(written));
  }
}

void HttpStream::Handshake(Done done) {
  layers_->tls->async_handshake(asio::ssl::stream_base::server,
                                [done = std::move(done)](error_code error) { done(!error); });
}

void HttpStream::Goodbye(Done done) {
  layers_->tls->async_shutdown([done = std::move(done)](error_code error) { done(!error); });
}

void HttpStream::AwaitInput(Done done) {
  layers_->plain.socket().async_wait(asio::socket_base::wait_read,
                                     [done = std::move(done)](error_code error) { done(!error); });
}

void HttpStream::Wait(absl::Duration time, Done done) {
  const auto timer = std::make_shared<asio::steady_timer>(layers_->plain.get_executor(),
                                                          absl::ToChronoNanoseconds(time));
  timer->async_wait([timer, done = std::move(done)](error_code error) { done(!error); });
}

void HttpStream::EndOutput() {
  error_code ignored;
  layers_->plain.socket().shutdown(asio::socket_base::shutdown_send, ignored);
}

void HttpStream::Close() { layers_->plain.close(); }

}  // namespace reprise::api
