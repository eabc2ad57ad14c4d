#include "engine/engine_inbox.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cachestore/base/check.h"
#include "cachestore/base/status_macros.h"

namespace reprise::engine {

absl::StatusOr<SequenceId> Inbox::Submit(Submission submission) {
  absl::MutexLock lock(&mu_);
  RETURN_IF_ERROR(mail_.closed);
  const int64_t samples = submission.request.num_samples;
  if (samples > max_waiting_) {
    return absl::InvalidArgumentError(absl::StrCat(
        "num_samples is ", samples, ", but the queue has ", max_waiting_,
        " places, one for each sample; ask for fewer samples, or give the server a longer queue "
        "(--max-waiting)"));
  }
  const int64_t waiting = NumWaitingLocked();
  if (waiting + samples > max_waiting_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the queue is full: ", waiting, " of ", max_waiting_,
                     " places are taken, and the request needs ", samples, RetryHintLocked()));
  }
  submission.id = next_id_;
  next_id_ += static_cast<SequenceId>(samples);
  mail_waiting_ += samples;
  alive_.insert(submission.id);
  mail_.submissions.push_back(std::move(submission));
  return mail_.submissions.back().id;
}

void Inbox::Cancel(SequenceId id) {
  absl::MutexLock lock(&mu_);
  if (!alive_.contains(id)) return;
  std::vector<SequenceId>& cancelled = mail_.cancelled;
  if (std::find(cancelled.begin(), cancelled.end(), id) == cancelled.end()) cancelled.push_back(id);
}

void Inbox::Wake() {
  absl::MutexLock lock(&mu_);
  woken_ = true;
}

void Inbox::Close(const absl::Status& why) {
  CHECK(!why.ok());
  absl::MutexLock lock(&mu_);
  mail_.closed.Update(why);
}

Inbox::Mail Inbox::Take(absl::Time deadline) {
  absl::MutexLock lock(&mu_);
  mu_.AwaitWithDeadline(absl::Condition(this, &Inbox::HasNewsLocked), deadline);
  woken_ = false;
  taken_waiting_ += std::exchange(mail_waiting_, 0);
  Mail mail = std::move(mail_);
  mail_ = Mail{.closed = mail.closed};
  return mail;
}

void Inbox::SetTakenWaiting(int64_t count, absl::Time now) {
  absl::MutexLock lock(&mu_);
  const int64_t left = taken_waiting_ - count;
  taken_waiting_ = count;
  if (left <= 0) return;
  if (last_left_ > absl::InfinitePast()) {
    const absl::Duration interval = (now - last_left_) / left;
    leave_interval_ =
        leave_interval_ < absl::ZeroDuration() ? interval : (3 * leave_interval_ + interval) / 4;
  }
  // An empty queue says nothing about how fast it empties.
  last_left_ = count > 0 ? now : absl::InfinitePast();
}

void Inbox::Forget(SequenceId id) {
  absl::MutexLock lock(&mu_);
  alive_.erase(id);
  mail_.cancelled.erase(std::remove(mail_.cancelled.begin(), mail_.cancelled.end(), id),
                        mail_.cancelled.end());
}

int64_t Inbox::num_waiting() const {
  absl::MutexLock lock(&mu_);
  return NumWaitingLocked();
}

bool Inbox::HasNewsLocked() const {
  return woken_ || !mail_.closed.ok() || !mail_.submissions.empty() || !mail_.cancelled.empty();
}

std::string Inbox::RetryHintLocked() const {
  if (leave_interval_ < absl::ZeroDuration()) return "";
  return absl::StrCat("; one leaves in about ",
                      absl::FormatDuration(absl::Ceil(leave_interval_, absl::Milliseconds(1))));
}

int64_t Inbox::NumWaitingLocked() const { return taken_waiting_ + mail_waiting_; }

}  // namespace reprise::engine
