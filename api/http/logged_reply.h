// LoggedReply: a reply that writes a line to the log of calls when it has ended, or was let go of.
// Owned as the reply it wraps. Thread-safe.
#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "api/auth/principal.h"
#include "api/http/http_message.h"
#include "api/log/call_log.h"

namespace reprise::api {

// Of an answer with this status: its line's status, and whether it failed.
void SetHttpStatus(int status, CallRecord* record);

class LoggedReply final : public HttpReply {
 public:
  // `record` names the request, which came whole at `start`; `log` must outlive the reply.
  LoggedReply(CallLog* log, CallRecord record, absl::Time start, std::shared_ptr<HttpReply> reply);
  // One that has not ended is one whose client has gone, or whose handler has failed.
  ~LoggedReply() override;

  void SetCaller(const Principal& principal) ABSL_LOCKS_EXCLUDED(mu_);

  // HttpReply
  void Send(HttpResponse response) override ABSL_LOCKS_EXCLUDED(mu_);
  void Begin(HttpResponse head) override ABSL_LOCKS_EXCLUDED(mu_);
  void Write(absl::string_view piece) override { reply_->Write(piece); }
  void End() override ABSL_LOCKS_EXCLUDED(mu_);
  void NotifyGone(std::function<void()> gone) override;
  void NoteHit(int64_t tokens) override ABSL_LOCKS_EXCLUDED(mu_);
  void NoteFailure(const absl::Status& status) override ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // Writes the line, the first time.
  void TellLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  CallLog* const log_;
  const std::shared_ptr<HttpReply> reply_;
  const absl::Time start_;
  // Whether the client has gone; shared with what the reply calls then, which may outlast this.
  const std::shared_ptr<std::atomic<bool>> gone_ = std::make_shared<std::atomic<bool>>(false);
  absl::Mutex mu_;
  CallRecord record_ ABSL_GUARDED_BY(mu_);
  absl::Time first_answer_ ABSL_GUARDED_BY(mu_) = absl::InfiniteFuture();
  bool told_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace reprise::api
