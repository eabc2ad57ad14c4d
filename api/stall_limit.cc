#include "api/stall_limit.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "api/end_call.h"

namespace reprise::api {

StallLimit::State::State(const Limits& call_limits, std::function<bool()> shortage)
    : limits(call_limits), is_short(std::move(shortage)), end(absl::Now() + limits.total) {}

StallLimit::Limits StallLimit::LimitsOf(absl::Duration total, absl::Duration stall) {
  return {.total = total,
          .stall = stall,
          .stall_if_short = stall,
          .stalled = {grpc::StatusCode::DEADLINE_EXCEEDED,
                      absl::StrCat("the client has sent or read no whole message for ",
                                   absl::FormatDuration(stall))}};
}

StallLimit::StallLimit(grpc::ServerContextBase* context, const Limits& limits,
                       std::function<bool()> is_short)
    : state_(std::make_shared<State>(limits, std::move(is_short))) {
  absl::MutexLock lock(&state_->mu);
  state_->context = context;
  State::SetAlarm(state_);
}

void StallLimit::BeginWait() {
  absl::MutexLock lock(&state_->mu);
  state_->waits_since = absl::Now();
}

void StallLimit::EndWait() {
  absl::MutexLock lock(&state_->mu);
  state_->waits_since = absl::InfiniteFuture();
}

bool StallLimit::During(absl::FunctionRef<bool()> wait) {
  BeginWait();
  const bool done = wait();
  EndWait();
  return done;
}

void StallLimit::Close() {
  std::unique_ptr<grpc::Alarm> alarm;  // ended without the lock, which its function takes
  absl::MutexLock lock(&state_->mu);
  state_->context = nullptr;
  alarm = std::move(state_->alarm);
  // Unless it is that cancellation which, on this thread, ends the call.
  while (state_->canceller.has_value() && *state_->canceller != std::this_thread::get_id()) {
    state_->cancelled.Wait(&state_->mu);
  }
}

void StallLimit::State::SetAlarm(const std::shared_ptr<State>& state) {
  // A new one each time: the old one's function may be running.
  state->alarm = std::make_unique<grpc::Alarm>();
  const absl::Time now = absl::Now();
  const absl::Time soonest = std::min(state->waits_since, now) + state->limits.stall_if_short;
  // A call that has waited for so long, and may, is looked at again in case that others come to
  // wait.
  const absl::Time next = soonest > now ? soonest : now + state->limits.stall_if_short / 2;
  state->alarm->Set(absl::ToChronoTime(std::min(state->end, next)), [state](bool expired) {
    if (expired) Check(state);
  });
}

grpc::Status StallLimit::State::Verdict(absl::Time now) const {
  if (now >= end) return {grpc::StatusCode::CANCELLED, "the call has lasted too long"};
  const absl::Duration allowed = is_short() ? limits.stall_if_short : limits.stall;
  return now - waits_since >= allowed ? limits.stalled : grpc::Status::OK;
}

void StallLimit::State::Check(const std::shared_ptr<State>& state) {
  grpc::ServerContextBase* context = nullptr;
  grpc::Status verdict;
  {
    absl::MutexLock lock(&state->mu);
    if (state->context == nullptr) return;
    verdict = state->Verdict(absl::Now());
    if (verdict.ok()) return SetAlarm(state);
    context = state->context;
    state->canceller = std::this_thread::get_id();
  }
  // Without the lock: gRPC may run the call's reactions on this thread, to its end.
  EndCall(context, verdict);
  absl::MutexLock lock(&state->mu);
  state->canceller.reset();
  state->cancelled.SignalAll();
}

}  // namespace reprise::api
