#include "api/call_time_limit.h"

#include "absl/time/clock.h"

namespace reprise::api {

CallTimeLimit::CallTimeLimit(grpc::ServerContext* context, absl::Duration limit) {
  {
    absl::MutexLock lock(&state_->mu);
    state_->context = context;
  }
  alarm_.Set(absl::ToChronoTime(absl::Now() + limit), [state = state_](bool expired) {
    absl::MutexLock lock(&state->mu);
    if (expired && state->context != nullptr) state->context->TryCancel();
  });
}

CallTimeLimit::~CallTimeLimit() {
  absl::MutexLock lock(&state_->mu);
  state_->context = nullptr;
}

}  // namespace reprise::api
