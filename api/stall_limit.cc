#include "api/stall_limit.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"

namespace reprise::api {

StallLimit::State::State(const Limits& call_limits, std::function<bool()> shortage)
    : limits(call_limits), is_short(std::move(shortage)), end(absl::Now() + limits.total) {}

StallLimit::StallLimit(grpc::CallbackServerContext* context, const Limits& limits,
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
  const absl::Time next = std::min(state->end, absl::Now() + state->limits.stall_if_short / 2);
  state->alarm->Set(absl::ToChronoTime(next), [state](bool expired) {
    if (expired) Check(state);
  });
}

bool StallLimit::State::IsOver() const {
  const absl::Time now = absl::Now();
  return now >= end || now - waits_since >= (is_short() ? limits.stall_if_short : limits.stall);
}

void StallLimit::State::Check(const std::shared_ptr<State>& state) {
  grpc::CallbackServerContext* context = nullptr;
  {
    absl::MutexLock lock(&state->mu);
    if (state->context == nullptr) return;
    if (!state->IsOver()) return SetAlarm(state);
    context = state->context;
    state->canceller = std::this_thread::get_id();
  }
  // Without the lock: gRPC may run the call's reactions on this thread, to its end.
  context->TryCancel();
  absl::MutexLock lock(&state->mu);
  state->canceller.reset();
  state->cancelled.SignalAll();
}

}  // namespace reprise::api
