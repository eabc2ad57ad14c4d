#include "api/record/recording.h"

#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {

Recording::~Recording() { Stop().IgnoreError(); }

absl::StatusOr<RecordingProgress> Recording::Start(const std::string& path, int64_t max_bytes) {
  if (max_bytes < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_bytes is ", max_bytes, "; it must not be negative"));
  }
  RecordingLimits limits;
  if (max_bytes > 0) limits.file_bytes = max_bytes;
  absl::MutexLock lock(&mu_);
  if (recorder_ != nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("a recording into ", recorder_->progress().path, " is under way; stop it"));
  }
  ASSIGN_OR_RETURN(recorder_, RequestRecorder::Start(path, limits));
  store_->Watch(recorder_);
  return recorder_->progress();
}

absl::StatusOr<RecordingProgress> Recording::StartNext(const std::string& path, int64_t max_bytes) {
  absl::StatusOr<RecordingProgress> started = Start(path, max_bytes);
  for (int i = 1; i < kMostFiles && absl::IsAlreadyExists(started.status()); ++i) {
    started = Start(absl::StrCat(path, ".", i), max_bytes);
  }
  return started;
}

absl::StatusOr<RecordingProgress> Recording::Stop() {
  std::shared_ptr<RequestRecorder> ending;
  {
    absl::MutexLock lock(&mu_);
    if (recorder_ == nullptr || is_ending_) {
      return absl::FailedPreconditionError("there is no recording");
    }
    store_->Watch(nullptr);
    is_ending_ = true;
    ending = recorder_;
  }
  ending->Stop();
  const RecordingProgress progress = ending->progress();
  absl::MutexLock lock(&mu_);
  ended_.requests += progress.requests;
  ended_.dropped_requests += progress.dropped_requests;
  recorder_ = nullptr;
  is_ending_ = false;
  return progress;
}

RecordingTotals Recording::totals() const {
  absl::MutexLock lock(&mu_);
  RecordingTotals totals = ended_;
  if (recorder_ == nullptr) return totals;
  const RecordingProgress progress = recorder_->progress();
  totals.running = progress.cause.empty() ? 1 : 0;
  totals.requests += progress.requests;
  totals.dropped_requests += progress.dropped_requests;
  return totals;
}

}  // namespace reprise::api
