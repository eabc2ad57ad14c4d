#include <boost/asio/post.hpp>
#include <utility>

#include "api/http/http_connection.h"

namespace reprise::api {

HttpExchange::HttpExchange(boost::asio::io_context* io, size_t max_unsent_bytes,
                           std::shared_ptr<HttpConnection> connection)
    : io_(io), max_unsent_bytes_(max_unsent_bytes), connection_(std::move(connection)) {}

void HttpExchange::WakeLocked() {
  if (woken_ || connection_ == nullptr) return;
  woken_ = true;
  boost::asio::post(*io_, [this, connection = connection_] { connection->Pump(this); });
}

void HttpExchange::Send(HttpResponse response) {
  absl::MutexLock lock(&mu_);
  if (answered_) return;
  answered_ = true;
  ended_ = true;
  whole_ = std::move(response);
  WakeLocked();
}

void HttpExchange::Begin(HttpResponse head) {
  absl::MutexLock lock(&mu_);
  if (answered_) return;
  answered_ = true;
  head_ = std::move(head);
  WakeLocked();
}

void HttpExchange::Write(absl::string_view piece) {
  absl::MutexLock lock(&mu_);
  if (ended_ || cut_off_ || connection_ == nullptr) return;
  if (pieces_.size() + piece.size() > max_unsent_bytes_) {
    cut_off_ = true;
    pieces_ = std::string();
  } else {
    pieces_.append(piece.data(), piece.size());
  }
  WakeLocked();
}

void HttpExchange::End() {
  absl::MutexLock lock(&mu_);
  ended_ = true;
  WakeLocked();
}

void HttpExchange::Abandon() {
  absl::MutexLock lock(&mu_);
  if (ended_) return;
  if (answered_) {
    cut_off_ = true;  // a stream that lacks its end
  } else {
    answered_ = true;
    ended_ = true;
    abandoned_ = true;
  }
  WakeLocked();
}

void HttpExchange::NotifyGone(std::function<void()> gone) {
  {
    absl::MutexLock lock(&mu_);
    if (!gone_) {
      if (connection_ != nullptr) on_gone_ = std::move(gone);
      return;
    }
  }
  gone();
}

HttpExchange::Urgency HttpExchange::WakeUp() {
  absl::MutexLock lock(&mu_);
  woken_ = false;
  return cut_off_ ? Urgency::kCutOff : Urgency::kNone;
}

HttpExchange::Work HttpExchange::Take() {
  absl::MutexLock lock(&mu_);
  Work work;
  if (abandoned_) {
    work.kind = Work::Kind::kAbandoned;
  } else if (whole_.has_value()) {
    work.kind = Work::Kind::kWhole;
    work.response = *std::move(whole_);
    whole_.reset();
  } else if (head_.has_value()) {
    work.kind = Work::Kind::kHead;
    work.response = *std::move(head_);
    head_.reset();
  } else if (!pieces_.empty()) {
    work.kind = Work::Kind::kPieces;
    work.pieces = std::move(pieces_);
    pieces_.clear();
  } else if (ended_) {
    work.kind = Work::Kind::kEnd;
  }
  return work;
}

void HttpExchange::Finish() {
  // Let go of outside of the lock: they may be the last to hold something.
  std::shared_ptr<HttpConnection> connection;
  std::function<void()> on_gone;
  absl::MutexLock lock(&mu_);
  connection = std::move(connection_);
  on_gone = std::move(on_gone_);
  on_gone_ = nullptr;
}

void HttpExchange::MarkGone() {
  std::shared_ptr<HttpConnection> connection;
  std::function<void()> on_gone;
  {
    absl::MutexLock lock(&mu_);
    gone_ = true;
    pieces_ = std::string();
    connection = std::move(connection_);
    on_gone = std::move(on_gone_);
    on_gone_ = nullptr;
  }
  if (on_gone) on_gone();
}

}  // namespace reprise::api
