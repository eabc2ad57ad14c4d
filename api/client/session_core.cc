#include "api/client/session_core.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "absl/time/clock.h"
#include "api/status_codec.h"

namespace reprise::api {
namespace {

// What could not be sent is not sent again sooner.
constexpr absl::Duration kRetry = absl::Milliseconds(100);

}  // namespace

SessionCore::SessionCore(const std::string& address, const CacheSession::Options& options)
    : options_(options), stub_(v1::Cache::NewStub(ConnectTo(address, options.access))) {}

absl::StatusOr<v1::SessionOpened> SessionCore::Open() {
  v1::OpenSessionRequest request;
  request.set_client_name(options_.client_name);
  request.set_shared_memory(options_.shared_memory);
  request.set_write_shared_memory(options_.write_shared_memory);
  request.set_max_ttl_seconds(absl::ToDoubleSeconds(std::min(options_.ttl, absl::Hours(1))));
  // The stream has no deadline, so what may not last is ended by hand.
  std::thread watchdog([this, deadline = absl::Now() + options_.open_timeout] {
    absl::MutexLock lock(&mu_);
    while (id_.empty() && !closing_) {
      if (!changed_.WaitWithDeadline(&mu_, deadline)) continue;
      if (id_.empty() && !closing_) context_.TryCancel();
      return;
    }
  });
  stream_ = stub_->OpenSession(&context_, request);
  v1::SessionEvent event;
  const bool answered = stream_->Read(&event);
  const bool opened = answered && event.has_opened();
  {
    absl::MutexLock lock(&mu_);
    if (opened) {
      id_ = event.opened().session_id();
      ttl_ = absl::Seconds(event.opened().max_ttl_seconds());
      // A server that does not know what was asked for has told the most.
      if (options_.ttl > absl::ZeroDuration()) ttl_ = std::min(ttl_, options_.ttl);
    } else {
      closing_ = true;
    }
    changed_.SignalAll();
  }
  watchdog.join();
  if (opened) return event.opened();
  if (answered) context_.TryCancel();  // else the server has said why
  absl::Status status = FromGrpc(stream_->Finish());
  if (absl::IsCancelled(status)) {
    status = absl::DeadlineExceededError("the server has not opened a session in time");
  }
  return status.ok() ? absl::InternalError("the server opened no session") : status;
}

void SessionCore::Close() {
  {
    absl::MutexLock lock(&mu_);
    closing_ = true;
    changed_.SignalAll();
  }
  context_.TryCancel();
}

void SessionCore::ReadEvents() {
  v1::SessionEvent event;
  while (stream_->Read(&event)) {
    if (event.has_lease()) OnLease(event.lease());
  }
  const absl::Status status = FromGrpc(stream_->Finish());
  OnEnd(status.ok() ? absl::UnavailableError("the server has ended the session") : status);
}

void SessionCore::OnLease(const v1::LeaseState& state) {
  {
    absl::MutexLock lock(&mu_);
    if (const auto lease = leases_.find(state.lease_id()); lease != leases_.end()) {
      lease->second = state;
    } else if (acquiring_ > 0) {
      early_[state.lease_id()] = state;
    } else {
      return;  // released meanwhile
    }
    changed_.SignalAll();
  }
  if (options_.on_lease) options_.on_lease(state);
}

void SessionCore::OnEnd(const absl::Status& status) {
  bool asked = false;
  {
    absl::MutexLock lock(&mu_);
    asked = closing_;
    end_ = status;
    for (auto& [id, state] : leases_) state.set_phase(v1::LEASE_PHASE_ENDED);
    changed_.SignalAll();
  }
  if (!asked && options_.on_end) options_.on_end(status);
}

absl::StatusOr<v1::AcquireResponse> SessionCore::Acquire(v1::AcquireRequest request,
                                                         absl::Duration timeout) {
  request.set_session_id(id_);
  if (request.ttl_seconds() == 0) request.set_ttl_seconds(absl::ToDoubleSeconds(ttl_));
  {
    absl::MutexLock lock(&mu_);
    if (end_.has_value()) return *end_;
    ++acquiring_;
  }
  grpc::ClientContext context;
  SetTimeout(timeout, &context);
  v1::AcquireResponse response;
  const grpc::Status status = stub_->Acquire(&context, request, &response);
  absl::MutexLock lock(&mu_);
  --acquiring_;
  if (status.ok() && response.has_lease()) {
    const std::string& id = response.lease().lease_id();
    if (const auto early = early_.find(id); early != early_.end()) {
      *response.mutable_lease() = early->second;
    }
    if (end_.has_value()) response.mutable_lease()->set_phase(v1::LEASE_PHASE_ENDED);
    leases_[id] = response.lease();
  }
  if (acquiring_ == 0) early_.clear();
  if (!status.ok()) return FromGrpc(status);
  return response;
}

v1::LeaseState SessionCore::StateOf(const std::string& lease_id) const {
  return Await(lease_id, absl::InfinitePast());
}

v1::LeaseState SessionCore::Await(const std::string& lease_id, absl::Time deadline) const {
  absl::MutexLock lock(&mu_);
  while (true) {
    const auto lease = leases_.find(lease_id);
    if (lease->second.phase() != v1::LEASE_PHASE_LOADING || absl::Now() >= deadline) {
      return lease->second;
    }
    changed_.WaitWithDeadline(&mu_, deadline);
  }
}

void SessionCore::ReleaseSoon(const std::string& lease_id) {
  absl::MutexLock lock(&mu_);
  const auto lease = leases_.find(lease_id);
  const bool ended = lease->second.phase() == v1::LEASE_PHASE_ENDED;
  leases_.erase(lease);
  if (ended || end_.has_value()) return;
  to_release_.push_back(lease_id);
  changed_.SignalAll();
}

absl::Status SessionCore::EndRequest(const std::string& lease_id, const v1::CacheHints& hints,
                                     int64_t output_tokens, absl::Duration timeout) {
  v1::ReleaseRequest request;
  request.set_session_id(id_);
  request.add_lease_ids(lease_id);
  *request.mutable_hints() = hints;
  request.set_output_tokens(output_tokens);
  grpc::ClientContext context;
  SetTimeout(timeout, &context);
  v1::ReleaseResponse response;
  return FromGrpc(stub_->Release(&context, request, &response));
}

absl::Status SessionCore::SendReleases(absl::Duration timeout) {
  v1::ReleaseRequest request;
  request.set_session_id(id_);
  {
    absl::MutexLock lock(&mu_);
    if (to_release_.empty()) return absl::OkStatus();
    request.mutable_lease_ids()->Assign(to_release_.begin(), to_release_.end());
    to_release_.clear();
  }
  grpc::ClientContext context;
  SetTimeout(timeout, &context);
  v1::ReleaseResponse response;
  const absl::Status status = FromGrpc(stub_->Release(&context, request, &response));
  if (!status.ok()) {
    absl::MutexLock lock(&mu_);
    to_release_.insert(to_release_.end(), request.lease_ids().begin(), request.lease_ids().end());
  }
  return status;
}

absl::Status SessionCore::SendRenewals(absl::Duration timeout) {
  v1::RenewRequest request;
  request.set_session_id(id_);
  request.set_ttl_seconds(absl::ToDoubleSeconds(ttl_));
  {
    absl::MutexLock lock(&mu_);
    for (const auto& [id, state] : leases_) {
      if (state.phase() != v1::LEASE_PHASE_ENDED) request.add_lease_ids(id);
    }
  }
  // Without ids all would be renewed, also what nobody knows of.
  if (request.lease_ids().empty()) return absl::OkStatus();
  grpc::ClientContext context;
  SetTimeout(timeout, &context);
  v1::RenewResponse response;
  return FromGrpc(stub_->Renew(&context, request, &response));
}

absl::Status SessionCore::Flush(absl::Duration timeout) {
  if (const absl::Status ended = status(); !ended.ok()) return ended;
  if (const absl::Status sent = SendReleases(timeout); !sent.ok()) return sent;
  return SendRenewals(timeout);
}

void SessionCore::RenewLeases() {
  // Twice again before a lease that could not be renewed expires.
  const absl::Duration interval = ttl_ / 3;
  absl::Time next_renewal = absl::Now() + interval;
  absl::Time next_release = absl::InfinitePast();
  while (true) {
    {
      absl::MutexLock lock(&mu_);
      while (!closing_ && !end_.has_value()) {
        const absl::Time due =
            to_release_.empty() ? next_renewal : std::min(next_renewal, next_release);
        if (absl::Now() >= due) break;
        changed_.WaitWithDeadline(&mu_, due);
      }
      if (closing_ || end_.has_value()) return;
    }
    // A server that is gone ends the stream, and with it this.
    const bool released = SendReleases(interval).ok();
    next_release = released ? absl::InfinitePast() : absl::Now() + kRetry;
    if (absl::Now() < next_renewal) continue;
    const bool renewed = SendRenewals(interval).ok();
    next_renewal = absl::Now() + (renewed ? interval : std::min(interval, kRetry));
  }
}

absl::Status SessionCore::status() const {
  absl::MutexLock lock(&mu_);
  return end_.value_or(absl::OkStatus());
}

}  // namespace reprise::api
