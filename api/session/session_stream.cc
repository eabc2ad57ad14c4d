#include "api/session/session_stream.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>

#include "absl/time/time.h"

namespace reprise::api {
namespace {

constexpr size_t kMaxNameBytes = 64;

// A client's name for people, cut between two characters.
std::string ShortName(const std::string& name) {
  size_t size = std::min(name.size(), kMaxNameBytes);
  while (size < name.size() && size > 0 && (name[size] & 0xC0) == 0x80) --size;
  return name.substr(0, size);
}

}  // namespace

grpc::ServerWriteReactor<v1::SessionEvent>* SessionStream::Start(
    SessionTable* table, grpc::CallbackServerContext* context, const SessionOwner& owner,
    const v1::OpenSessionRequest& request, EndCall end_call) {
  std::shared_ptr<SessionStream> stream(new SessionStream(table, context, end_call));
  const absl::StatusOr<absl::Duration> max_ttl =
      TtlFrom("max_ttl_seconds", request.max_ttl_seconds(), table->limits().usual_ttl,
              table->limits().max_ttl);
  const absl::StatusOr<std::shared_ptr<Session>> session =
      max_ttl.ok() ? table->Open(owner, request.shared_memory(), stream) : max_ttl.status();
  {
    absl::MutexLock lock(&stream->mu_);
    stream->self_ = stream;
    if (session.ok()) {
      stream->session_ = *session;
      (*session)->Describe(
          {.client_name = ShortName(request.client_name()), .peer = context->peer()});
      if (request.write_shared_memory()) (*session)->AllowWrites();
      (*session)->SetMaxTtl(*max_ttl);
      // Before all that was told meanwhile.
      v1::SessionOpened& opened = *stream->unsent_.emplace_front().mutable_opened();
      opened.set_session_id((*session)->id());
      opened.set_max_ttl_seconds(absl::ToDoubleSeconds(*max_ttl));
      opened.set_max_lease_bytes(table->limits().bytes_per_session);
      if (request.shared_memory()) {
        opened.mutable_shared_memory()->set_socket_path(table->arena().socket_path);
        opened.mutable_shared_memory()->set_arena_bytes(
            static_cast<int64_t>(table->arena().bytes.size()));
      }
    } else {
      stream->EndLocked(session.status());
    }
  }
  stream->Advance();
  // gRPC's share keeps it alive: OnDone cannot come before the caller has returned this pointer.
  return stream.get();
}

void SessionStream::EndLocked(const absl::Status& status) {
  if (end_.has_value()) return;
  end_ = status;
  unsent_.clear();
}

void SessionStream::Advance() {
  std::optional<absl::Status> finish_with;
  {
    absl::MutexLock lock(&mu_);
    // self_ is there once the call has begun, and until it is over.
    if (writing_ || finishing_ || self_ == nullptr) return;
    if (end_.has_value()) {
      finishing_ = true;
      finish_with = end_;
    } else if (!unsent_.empty()) {
      in_write_ = std::move(unsent_.front());
      unsent_.pop_front();
      writing_ = true;
    } else {
      return;
    }
  }
  if (finish_with.has_value()) {
    Finish(
        {static_cast<grpc::StatusCode>(finish_with->code()), std::string(finish_with->message())});
  } else {
    StartWrite(&in_write_);
  }
}

void SessionStream::OnLease(const v1::LeaseState& state) {
  bool behind = false;
  {
    absl::MutexLock lock(&mu_);
    if (end_.has_value()) return;
    if (static_cast<int64_t>(unsent_.size()) >= table_->limits().unsent_events) {
      behind = true;
      EndLocked(absl::ResourceExhaustedError("the client does not read what its leases come to"));
      // The running write waits for the client; only the call's end from outside ends it. Under the
      // lock, because the context is good only before Finish.
      end_call_(context_, *end_);
    } else {
      *unsent_.emplace_back().mutable_lease() = state;
    }
  }
  if (!behind) Advance();  // else OnCancel does, which ends the session
}

void SessionStream::OnEnd(const absl::Status& status) {
  {
    absl::MutexLock lock(&mu_);
    if (end_.has_value()) return;
    EndLocked(status);
    // As above, where a write is running.
    if (writing_) end_call_(context_, status);
  }
  Advance();
}

void SessionStream::OnWriteDone(bool ok) {
  {
    absl::MutexLock lock(&mu_);
    writing_ = false;
    if (!ok) EndLocked(absl::CancelledError("the client has gone"));
  }
  if (!ok) CloseSession();
  Advance();
}

void SessionStream::OnCancel() {
  {
    absl::MutexLock lock(&mu_);
    EndLocked(absl::CancelledError("the call was cancelled"));
  }
  CloseSession();
  Advance();
}

void SessionStream::CloseSession() {
  std::shared_ptr<Session> session;
  {
    absl::MutexLock lock(&mu_);
    session = std::move(session_);
  }
  if (session != nullptr) table_->Close(session);
}

void SessionStream::OnDone() {
  CloseSession();
  // Moved out, so that the object is not destroyed under its own lock.
  std::shared_ptr<SessionStream> self;
  absl::MutexLock lock(&mu_);
  self = std::move(self_);
}

}  // namespace reprise::api
