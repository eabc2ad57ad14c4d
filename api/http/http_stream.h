// HttpStream: the bytes of one connection, as they are or in TLS, with a time limit on what is
// under way (basic_stream's). For http_connection.cc alone. Thread-compatible.
#pragma once

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_stream.hpp>
#include <optional>
#include <utility>

namespace reprise::api {

using HttpSocket = boost::asio::generic::stream_protocol::socket;

class HttpStream {
 public:
  using Plain = boost::beast::basic_stream<boost::asio::generic::stream_protocol>;
  using executor_type = Plain::executor_type;

  // Owns `tls`, TLS's state of a server's connection; null: no TLS.
  HttpStream(HttpSocket socket, ssl_st* tls) : plain_(std::move(socket)) {
    if (tls != nullptr) tls_.emplace(plain_, tls);
  }
  HttpStream(const HttpStream&) = delete;
  HttpStream& operator=(const HttpStream&) = delete;

  bool is_tls() const { return tls_.has_value(); }
  // Without TLS, and with its time limit.
  Plain& plain() { return plain_; }
  // REQUIRES: is_tls().
  ssl_st* tls_state() { return tls_->next_layer().native_handle(); }

  // What Beast asks of a stream.
  executor_type get_executor() { return plain_.get_executor(); }
  template <class Buffers, class Handler>
  void async_read_some(const Buffers& buffers, Handler&& handler) {
    if (tls_) {
      tls_->async_read_some(buffers, std::forward<Handler>(handler));
    } else {
      plain_.async_read_some(buffers, std::forward<Handler>(handler));
    }
  }
  template <class Buffers, class Handler>
  void async_write_some(const Buffers& buffers, Handler&& handler) {
    if (tls_) {
      tls_->async_write_some(buffers, std::forward<Handler>(handler));
    } else {
      plain_.async_write_some(buffers, std::forward<Handler>(handler));
    }
  }

  // The beginning of TLS, and its end, for which it waits for the client's. REQUIRES: is_tls().
  template <class Handler>
  void async_handshake(Handler&& handler) {
    tls_->next_layer().async_handshake(boost::asio::ssl::stream_base::server,
                                       std::forward<Handler>(handler));
  }
  template <class Handler>
  void async_goodbye(Handler&& handler) {
    tls_->next_layer().async_shutdown(std::forward<Handler>(handler));
  }

 private:
  Plain plain_;
  // Flat: TLS would make a record of every piece of a write.
  std::optional<boost::beast::flat_stream<boost::asio::ssl::stream<Plain&>>> tls_;
};

}  // namespace reprise::api
