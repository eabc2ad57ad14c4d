// WatchStream: one Watch call. Writes the next event whenever the client has taken the one before;
// while nothing happens holds no thread. Owned twice: by gRPC until OnDone and by the hub.
// Thread-safe.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <memory>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "api/view/event_feed.h"
#include "api/view/watch_hub.h"

namespace reprise::api {

class WatchStream final : public WatchHub::Reactor {
 public:
  // `hub` and `context` must outlive the call.
  WatchStream(WatchHub* hub, grpc::CallbackServerContext* context, EventFeed feed)
      : hub_(hub), context_(context), feed_(std::move(feed)) {}

  // Once, before anything else: `self` is gRPC's share.
  void Begin(std::shared_ptr<WatchStream> self) ABSL_LOCKS_EXCLUDED(mu_);
  // There may be more to tell.
  void Wake() ABSL_LOCKS_EXCLUDED(mu_) { Advance(); }
  // The call ends with `status`.
  void End(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_);

  // ServerWriteReactor, on gRPC's threads.
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  // Starts the next write, or ends the call. Does nothing while a write is running. Called without
  // the lock: gRPC may run reactions on the calling thread.
  void Advance() ABSL_LOCKS_EXCLUDED(mu_);

  WatchHub* const hub_;
  grpc::CallbackServerContext* const context_;

  absl::Mutex mu_;
  EventFeed feed_ ABSL_GUARDED_BY(mu_);
  v1::CacheEvent in_write_;  // the writer's alone while writing_ is true
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool finishing_ ABSL_GUARDED_BY(mu_) = false;             // Finish was called
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mu_);    // the first one
  std::shared_ptr<WatchStream> self_ ABSL_GUARDED_BY(mu_);  // gRPC's share; gone after OnDone
};

}  // namespace reprise::api
