// StallLimit: ends a call that lasts too long, or whose client has stopped reading or writing for
// too long, so that it cannot hold pins, or a thread, for ever. Owned by the call's reactor or
// handler. Thread-safe.
#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/server_context.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace reprise::api {

class StallLimit {
 public:
  struct Limits {
    absl::Duration total;           // of the whole call
    absl::Duration stall;           // between BeginWait and EndWait
    absl::Duration stall_if_short;  // the same, while somebody waits for what the call holds
    // How a call ends whose client has stopped. One that lasts too long is CANCELLED.
    grpc::Status stalled = {grpc::StatusCode::CANCELLED, "the client has stopped reading"};
  };
  // Of a call that holds nothing which others wait for.
  static Limits LimitsOf(absl::Duration total, absl::Duration stall);

  // `context` must outlive Close. `is_short` says whether somebody waits; called on any thread, not
  // after Close.
  StallLimit(
      grpc::ServerContextBase* context, const Limits& limits,
      std::function<bool()> is_short = [] { return false; });
  // Closes.
  ~StallLimit() { Close(); }
  StallLimit(const StallLimit&) = delete;
  StallLimit& operator=(const StallLimit&) = delete;

  // Between these the call waits for its client.
  void BeginWait();
  void EndWait();
  // The same around `wait`, which blocks; returns what it does.
  bool During(absl::FunctionRef<bool()> wait);

  // The call has ended: it is not touched any more once this returns.
  void Close();

 private:
  // Shared with the alarm, which may fire while the call ends.
  struct State {
    State(const Limits& call_limits, std::function<bool()> shortage);

    // Looks at the call, and again later.
    static void Check(const std::shared_ptr<State>& state) ABSL_LOCKS_EXCLUDED(state->mu);
    static void SetAlarm(const std::shared_ptr<State>& state)
        ABSL_EXCLUSIVE_LOCKS_REQUIRED(state->mu);

    // Why the call ends now: it has lasted, or waited, too long; OK: neither.
    grpc::Status Verdict(absl::Time now) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);

    const Limits limits;
    const std::function<bool()> is_short;
    const absl::Time end;
    absl::Mutex mu;
    grpc::ServerContextBase* context ABSL_GUARDED_BY(mu) = nullptr;  // null: the call has ended
    absl::Time waits_since ABSL_GUARDED_BY(mu) = absl::InfiniteFuture();
    std::unique_ptr<grpc::Alarm> alarm ABSL_GUARDED_BY(mu);
    std::optional<std::thread::id> canceller ABSL_GUARDED_BY(mu);  // which uses the context
    absl::CondVar cancelled;                                       // it does not any more
  };

  const std::shared_ptr<State> state_;
};

}  // namespace reprise::api
