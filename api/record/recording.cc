#include "api/record/recording.h"

#include <utility>

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

absl::StatusOr<RecordingProgress> Recording::Stop() {
  absl::MutexLock lock(&mu_);
  if (recorder_ == nullptr) return absl::FailedPreconditionError("there is no recording");
  store_->Watch(nullptr);
  const std::shared_ptr<RequestRecorder> ended = std::exchange(recorder_, nullptr);
  ended->Stop();
  return ended->progress();
}

}  // namespace reprise::api
