// CallTimeLimit: cancels a synchronous call that takes longer than allowed, so that a client that
// has stopped reading or writing cannot hold a handler (and its pins) for ever. Lives in the
// handler. Thread-safe.
#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/server_context.h>

#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace reprise::api {

class CallTimeLimit {
 public:
  // `context` must outlive this object.
  CallTimeLimit(grpc::ServerContext* context, absl::Duration limit);
  ~CallTimeLimit();
  CallTimeLimit(const CallTimeLimit&) = delete;
  CallTimeLimit& operator=(const CallTimeLimit&) = delete;

 private:
  // Shared with the alarm, which may fire while the handler ends.
  struct State {
    absl::Mutex mu;
    grpc::ServerContext* context ABSL_GUARDED_BY(mu) = nullptr;  // null once the handler has ended
  };

  const std::shared_ptr<State> state_ = std::make_shared<State>();
  grpc::Alarm alarm_;
};

}  // namespace reprise::api
