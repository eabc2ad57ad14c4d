// RunningCalls: how many calls of one gRPC listener are under way, and whether new ones are taken,
// so that a server that shuts down can see the last one off before its connections end.
// Thread-safe.
#pragma once

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace reprise::api {

class RunningCalls {
 public:
  // A call has come in; later it is over, and its answer with the transport. REQUIRES: as many ends
  // as beginnings.
  void Begin() ABSL_LOCKS_EXCLUDED(mu_);
  void End() ABSL_LOCKS_EXCLUDED(mu_);

  // New calls are to be refused with `why` (not OK) from now on. One that was let in just before
  // may still begin.
  void Close(const absl::Status& why) ABSL_LOCKS_EXCLUDED(mu_);
  // What new calls are refused with; OK: they are taken.
  absl::Status closed() const ABSL_LOCKS_EXCLUDED(mu_);

  // Waits until none is under way; false: `deadline` came first. BLOCKS.
  bool AwaitNone(absl::Time deadline) const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  bool IsNone() const ABSL_SHARED_LOCKS_REQUIRED(mu_) { return count_ == 0; }

  mutable absl::Mutex mu_;
  int64_t count_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Status closed_ ABSL_GUARDED_BY(mu_);
};

}  // namespace reprise::api
