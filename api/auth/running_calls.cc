#include "api/auth/running_calls.h"

#include "cachestore/base/check.h"

namespace reprise::api {

void RunningCalls::Begin() {
  absl::MutexLock lock(&mu_);
  ++count_;
}

void RunningCalls::End() {
  absl::MutexLock lock(&mu_);
  CHECK(count_ > 0);
  --count_;
}

void RunningCalls::Close(const absl::Status& why) {
  CHECK(!why.ok());
  absl::MutexLock lock(&mu_);
  closed_.Update(why);
}

absl::Status RunningCalls::closed() const {
  absl::ReaderMutexLock lock(&mu_);
  return closed_;
}

bool RunningCalls::AwaitNone(absl::Time deadline) const {
  absl::ReaderMutexLock lock(&mu_);
  return mu_.AwaitWithDeadline(absl::Condition(this, &RunningCalls::IsNone), deadline);
}

}  // namespace reprise::api
