#include "api/http/logged_reply.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace reprise::api {

void SetHttpStatus(int status, CallRecord* record) {
  record->status = absl::StrCat(status);
  record->failed = status >= 400;
  record->is_fault = status >= 500;
}

LoggedReply::LoggedReply(CallLog* log, CallRecord record, absl::Time start,
                         std::shared_ptr<HttpReply> reply)
    : log_(log), reply_(std::move(reply)), start_(start), record_(std::move(record)) {
  NotifyGone([] {});
}

LoggedReply::~LoggedReply() {
  absl::MutexLock lock(&mu_);
  if (*gone_ && !record_.failed) {
    record_.status = "CANCELLED";
  } else if (!record_.failed) {
    SetHttpStatus(500, &record_);
  }
  TellLocked();
}

void LoggedReply::NotifyGone(std::function<void()> gone) {
  reply_->NotifyGone([flag = gone_, gone = std::move(gone)] {
    *flag = true;
    gone();
  });
}

void LoggedReply::TellLocked() {
  if (std::exchange(told_, true)) return;
  const absl::Time end = absl::Now();
  record_.time = end - start_;
  record_.waiting = std::min(first_answer_, end) - start_;
  log_->Write(record_);
}

void LoggedReply::SetCaller(const Principal& principal) {
  absl::MutexLock lock(&mu_);
  record_.who = principal.name;
  record_.tenant = principal.tenant;
}

void LoggedReply::Send(HttpResponse response) {
  {
    absl::MutexLock lock(&mu_);
    SetHttpStatus(response.status, &record_);
    TellLocked();
  }
  reply_->Send(std::move(response));
}

void LoggedReply::Begin(HttpResponse head) {
  {
    absl::MutexLock lock(&mu_);
    first_answer_ = absl::Now();
  }
  reply_->Begin(std::move(head));
}

void LoggedReply::End() {
  {
    absl::MutexLock lock(&mu_);
    if (!record_.failed) SetHttpStatus(200, &record_);
    TellLocked();
  }
  reply_->End();
}

void LoggedReply::NoteHit(int64_t tokens) {
  absl::MutexLock lock(&mu_);
  record_.work.hit_tokens = tokens;
}

void LoggedReply::NoteFailure(const absl::Status& status) {
  absl::MutexLock lock(&mu_);
  record_.SetOutcome(status);
}

}  // namespace reprise::api
