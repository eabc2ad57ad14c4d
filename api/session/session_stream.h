// SessionStream: one OpenSession call, which is a session: it tells the client what becomes of its
// leases, and while nothing happens holds no thread. However the call ends, the session ends with
// it at once.
//
// Nobody waits for the client: events queue here, so many at most (SessionLimits), and a client
// that falls further behind loses its session. Owned twice: by gRPC until OnDone and by the
// session. Thread-safe.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "api/session/session_table.h"
#include "reprise/v1/cache.pb.h"

namespace reprise::api {

class SessionStream final : public grpc::ServerWriteReactor<v1::SessionEvent>, public SessionSink {
 public:
  // Ends a call from outside of it, with a status that the client is told.
  using EndCall = void (*)(grpc::ServerContextBase*, const absl::Status&);

  // Opens a session of `owner` in `table` and returns the call's reactor, which deletes itself.
  // What the table refuses ends the call with its status. `table` and `context` must outlive the
  // call.
  static grpc::ServerWriteReactor<v1::SessionEvent>* Start(SessionTable* table,
                                                           grpc::CallbackServerContext* context,
                                                           const SessionOwner& owner,
                                                           const v1::OpenSessionRequest& request,
                                                           EndCall end_call);

  // SessionSink.
  void OnLease(const v1::LeaseState& state) override;
  void OnEnd(const absl::Status& status) override;

  // ServerWriteReactor, on gRPC's threads.
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  SessionStream(SessionTable* table, grpc::CallbackServerContext* context, EndCall end_call)
      : table_(table), context_(context), end_call_(end_call) {}

  // Nothing more is told; the call ends with `status`.
  void EndLocked(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Starts the next write, or ends the call. Does nothing while a write is running. Called after
  // every change of state, without the lock: gRPC may run reactions on the calling thread.
  void Advance() ABSL_LOCKS_EXCLUDED(mu_);
  // Ends the session, if it was opened.
  void CloseSession() ABSL_LOCKS_EXCLUDED(mu_);

  SessionTable* const table_;
  grpc::CallbackServerContext* const context_;
  const EndCall end_call_;

  absl::Mutex mu_;
  std::deque<v1::SessionEvent> unsent_ ABSL_GUARDED_BY(mu_);
  v1::SessionEvent in_write_;  // the writer's alone while writing_ is true
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool finishing_ ABSL_GUARDED_BY(mu_) = false;               // Finish was called
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mu_);      // set by the first EndLocked
  std::shared_ptr<Session> session_ ABSL_GUARDED_BY(mu_);     // until it has ended
  std::shared_ptr<SessionStream> self_ ABSL_GUARDED_BY(mu_);  // gRPC's share; gone after OnDone
};

}  // namespace reprise::api
