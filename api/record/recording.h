// Recording: the recording of a server's requests, of which there is one at a time. Thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "api/record/recording_totals.h"
#include "api/record/request_recorder.h"
#include "cachestore/store/tiered_store.h"

namespace reprise::api {

class Recording {
 public:
  // `store` must outlive the recording.
  explicit Recording(cachestore::TieredStore* store) : store_(store) {}
  // As Stop.
  ~Recording();

  // Begins one into a new file of `max_bytes` at most (0: 1 GiB). kFailedPrecondition: one is under
  // way; kAlreadyExists: the file is there; kInvalidArgument: no path, a negative size, or the file
  // cannot be made.
  absl::StatusOr<RecordingProgress> Start(const std::string& path, int64_t max_bytes)
      ABSL_LOCKS_EXCLUDED(mu_);
  // The same; where the file is there, into `path`.1, or else .2, and so on: a server that is
  // started again goes on in a file of its own. kAlreadyExists: there are kMostFiles.
  absl::StatusOr<RecordingProgress> StartNext(const std::string& path, int64_t max_bytes)
      ABSL_LOCKS_EXCLUDED(mu_);
  static constexpr int kMostFiles = 10'000;
  // Ends it and tells what became of it; the file is whole then. BLOCKS while what waits is
  // written. kFailedPrecondition: there is none.
  absl::StatusOr<RecordingProgress> Stop() ABSL_LOCKS_EXCLUDED(mu_);
  RecordingTotals totals() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  cachestore::TieredStore* const store_;
  mutable absl::Mutex mu_;
  std::shared_ptr<RequestRecorder> recorder_ ABSL_GUARDED_BY(mu_);  // null: there is none
  bool is_ending_ ABSL_GUARDED_BY(mu_) = false;                     // somebody has called Stop
  RecordingTotals ended_ ABSL_GUARDED_BY(mu_);                      // of those before
};

}  // namespace reprise::api
