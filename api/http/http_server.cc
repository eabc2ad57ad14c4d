#include "api/http/http_server.h"

#include <unistd.h>

#include <atomic>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <cstring>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "api/http/http_connection.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {

namespace asio = boost::asio;

using asio::generic::stream_protocol;
using boost::system::error_code;
using Acceptor = asio::basic_socket_acceptor<stream_protocol>;

namespace {

// Beyond the most connections, so many are told so at a time; the rest are closed at once.
constexpr size_t kMaxTurnedAway = 64;
// How long to wait when the system has no descriptor for a new connection.
constexpr std::chrono::milliseconds kAcceptPause(100);

absl::Status CannotListen(const ListenAddress& listen, const error_code& error) {
  return absl::UnavailableError(
      absl::StrCat("cannot listen on ", listen.ToString(), ": ", error.message()));
}

absl::Status OpenAcceptor(const stream_protocol::endpoint& endpoint, Acceptor* acceptor,
                          const ListenAddress& listen) {
  error_code error;
  const bool is_unix = endpoint.protocol().family() == AF_UNIX;
  acceptor->open(endpoint.protocol(), error);
  if (!error && !is_unix) acceptor->set_option(Acceptor::reuse_address(true), error);
  if (!error) acceptor->bind(endpoint, error);
  if (!error) acceptor->listen(asio::socket_base::max_listen_connections, error);
  return error ? CannotListen(listen, error) : absl::OkStatus();
}

}  // namespace

class HttpServer::Impl final : public HttpHost {
 public:
  Impl(const ListenAddress& listen, HttpHandler* handler, const HttpLimits& limits,
       const TlsIdentity* tls)
      : handler_(handler),
        tls_(listen.unix_path.empty() ? tls : nullptr),
        limits_(limits),
        address_(listen),
        guard_(asio::make_work_guard(io_)),
        workers_(limits.workers) {}
  ~Impl() override { Shutdown(absl::Now()); }

  // Errors as HttpServer::Start. Called once, first.
  absl::Status Start() {
    RETURN_IF_ERROR(address_.unix_path.empty() ? ListenOnTcp() : ListenOnUnixSocket());
    for (const std::unique_ptr<Acceptor>& acceptor : acceptors_) Accept(acceptor.get());
    thread_ = std::thread([this] { Run(); });
    return absl::OkStatus();
  }

  void Drain() { draining_.store(true); }
  void Shutdown(absl::Time deadline) ABSL_LOCKS_EXCLUDED(mu_);

  const ListenAddress& address() const { return address_; }
  int64_t num_connections() const { return num_connections_.load(); }

  // HttpHost, on the server's thread.
  bool TakeBodyRoom(int64_t bytes) override {
    if (bytes > limits_.bodies_bytes - body_bytes_) return false;
    body_bytes_ += bytes;
    return true;
  }
  void GiveBodyRoom(int64_t bytes) override { body_bytes_ -= bytes; }
  void AnswerBegan() override ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    ++running_;
  }
  void AnswerEnded() override ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    --running_;
  }
  void Dispatch(HttpRequest request, std::shared_ptr<HttpExchange> exchange) override;
  HttpResponse Refusal(int status, absl::string_view cause) override {
    return handler_->Refusal(status, cause);
  }
  const HttpLimits& limits() const override { return limits_; }
  bool draining() const override { return draining_.load(); }
  void Ended(HttpConnection* connection) override {
    connections_.erase(connection);
    num_connections_.store(static_cast<int64_t>(connections_.size()));
  }

 private:
  void Run();
  absl::Status ListenOnTcp();
  absl::Status ListenOnUnixSocket();
  void Accept(Acceptor* acceptor);
  void Take(HttpSocket socket);
  void CloseAll();

  HttpHandler* const handler_;
  const TlsIdentity* const tls_;  // null: no TLS
  const HttpLimits limits_;
  ListenAddress address_;
  asio::io_context io_{1};
  asio::executor_work_guard<asio::io_context::executor_type> guard_;
  asio::thread_pool workers_;
  std::vector<std::unique_ptr<Acceptor>> acceptors_;
  std::thread thread_;

  // The server's thread's.
  absl::flat_hash_set<HttpConnection*> connections_;
  int64_t body_bytes_ = 0;

  std::atomic<int64_t> num_connections_{0};  // for readers on other threads
  std::atomic<bool> draining_{false};        // set once; no other memory depends on it

  absl::Mutex mu_;
  int64_t running_ ABSL_GUARDED_BY(mu_) = 0;  // answers awaited; the server's thread writes it
};

void HttpServer::Impl::Run() {
  // Beast and Asio throw where memory is short. That ends the connection whose turn it was, not the
  // process.
  for (bool more = true; more;) {
    try {
      io_.run();
      more = false;
    } catch (const std::exception&) {
    }
  }
}

absl::Status HttpServer::Impl::ListenOnTcp() {
  error_code error;
  asio::ip::tcp::resolver resolver(io_);
  const auto found = resolver.resolve(address_.host, absl::StrCat(address_.port),
                                      asio::ip::tcp::resolver::passive, error);
  if (error) return CannotListen(address_, error);
  absl::Status absent = absl::OkStatus();  // of addresses that this machine does not have
  for (const auto& entry : found) {
    asio::ip::tcp::endpoint endpoint = entry.endpoint();
    if (address_.port != 0) endpoint.port(address_.port);
    auto acceptor = std::make_unique<Acceptor>(io_);
    const absl::Status opened = OpenAcceptor(endpoint, acceptor.get(), address_);
    if (!opened.ok()) {
      if (endpoint.address().is_v6() && found.size() > 1) {
        absent = opened;
        continue;
      }
      return opened;
    }
    if (address_.port == 0) {
      stream_protocol::endpoint bound = acceptor->local_endpoint(error);
      if (error) return CannotListen(address_, error);
      asio::ip::tcp::endpoint real;
      std::memcpy(real.data(), bound.data(), bound.size());
      address_.port = real.port();
    }
    acceptors_.push_back(std::move(acceptor));
  }
  return acceptors_.empty() ? absent : absl::OkStatus();
}

absl::Status HttpServer::Impl::ListenOnUnixSocket() {
  RETURN_IF_ERROR(CheckFree(address_));
  unlink(address_.unix_path.c_str());  // of a process that is gone
  acceptors_.push_back(std::make_unique<Acceptor>(io_));
  return OpenAcceptor(asio::local::stream_protocol::endpoint(address_.unix_path),
                      acceptors_.back().get(), address_);
}

void HttpServer::Impl::Accept(Acceptor* acceptor) {
  acceptor->async_accept([this, acceptor](error_code error, HttpSocket socket) {
    if (!acceptor->is_open()) return;
    if (!error) {
      Accept(acceptor);  // first: taking the connection may throw, which ends this call alone
      return Take(std::move(socket));
    }
    // A timer of its own: another acceptor's pause must not end this one's.
    auto pause = std::make_shared<asio::steady_timer>(io_, kAcceptPause);
    pause->async_wait([this, acceptor, pause](error_code) {
      if (acceptor->is_open()) Accept(acceptor);
    });
  });
}

void HttpServer::Impl::Take(HttpSocket socket) {
  const size_t before = connections_.size();
  if (before >= limits_.connections + kMaxTurnedAway) return;
  ssl_st* const tls = tls_ == nullptr ? nullptr : tls_->context()->NewConnection();
  if (tls == nullptr && tls_ != nullptr) return;
  const auto connection = std::make_shared<HttpConnection>(
      this, &io_, std::make_unique<HttpStream>(std::move(socket), tls));
  connections_.insert(connection.get());
  num_connections_.store(static_cast<int64_t>(connections_.size()));
  if (before >= limits_.connections) return connection->TurnAway();
  connection->Start();
}

void HttpServer::Impl::Dispatch(HttpRequest request, std::shared_ptr<HttpExchange> exchange) {
  if (std::optional<HttpResponse> response = handler_->AnswerAtOnce(request)) {
    return exchange->Send(*std::move(response));
  }
  HttpExchange* const target = exchange.get();
  // The handler's share of the exchange: whoever drops the last of it unanswered abandons it.
  std::shared_ptr<HttpReply> reply(
      target, [exchange = std::move(exchange)](HttpReply*) { exchange->Abandon(); });
  asio::post(workers_, [this, request = std::move(request), reply = std::move(reply)]() mutable {
    // A request must not take the process down, whatever a library makes of it.
    try {
      handler_->Handle(std::move(request), std::move(reply));
    } catch (const std::exception&) {
      // Dropping the reply has answered 500.
    }
  });
}

void HttpServer::Impl::CloseAll() {
  for (const std::unique_ptr<Acceptor>& acceptor : acceptors_) {
    error_code ignored;
    acceptor->close(ignored);
  }
  // Closing one may end it, and take it out of the set.
  const std::vector<HttpConnection*> open(connections_.begin(), connections_.end());
  for (HttpConnection* connection : open) {
    if (connections_.contains(connection)) connection->shared_from_this()->Close();
  }
}

void HttpServer::Impl::Shutdown(absl::Time deadline) {
  if (!thread_.joinable()) return;
  Drain();
  {
    const auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return running_ == 0; };
    absl::MutexLock lock(&mu_);
    mu_.AwaitWithDeadline(absl::Condition(&idle), deadline);
  }
  asio::post(io_, [this] { CloseAll(); });
  workers_.join();
  guard_.reset();
  thread_.join();
  if (!address_.unix_path.empty()) unlink(address_.unix_path.c_str());
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const ListenAddress& listen,
                                                              HttpHandler* handler,
                                                              const HttpLimits& limits,
                                                              const TlsIdentity* tls) {
  auto impl = std::make_unique<Impl>(listen, handler, limits, tls);
  RETURN_IF_ERROR(impl->Start());
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

const ListenAddress& HttpServer::address() const { return impl_->address(); }
int64_t HttpServer::num_connections() const { return impl_->num_connections(); }
void HttpServer::Drain() { impl_->Drain(); }
void HttpServer::Shutdown(absl::Time deadline) { impl_->Shutdown(deadline); }

}  // namespace reprise::api
