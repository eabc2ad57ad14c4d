#include "api/auth/call_share.h"

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "api/auth/rate_limiter.h"
#include "cachestore/base/check.h"

namespace reprise::api {
namespace {

// Calls take milliseconds; but for those whose clients have stopped, which take longer to end.
constexpr absl::Duration kComeAgain = absl::Seconds(1);

}  // namespace

absl::Status CallShare::Begin(const std::string& tenant) {
  if (tenant.empty()) return absl::OkStatus();
  absl::MutexLock lock(&mu_);
  Calls& calls = calls_[tenant];
  if (calls.running == calls_per_tenant_ ||
      calls.running + calls.answered == calls_per_tenant_ + answers_per_tenant_) {
    return ComeAgain(absl::StrCat("tenant ", tenant, " has ", calls_per_tenant_,
                                  " calls under way, as many as it may"),
                     kComeAgain);
  }
  ++calls.running;
  return absl::OkStatus();
}

void CallShare::Answer(const std::string& tenant) {
  if (tenant.empty()) return;
  absl::MutexLock lock(&mu_);
  Calls& calls = calls_[tenant];
  CHECK(calls.running > 0);
  --calls.running;
  ++calls.answered;
}

void CallShare::End(const std::string& tenant) {
  if (tenant.empty()) return;
  absl::MutexLock lock(&mu_);
  const auto it = calls_.find(tenant);
  CHECK(it != calls_.end() && it->second.answered > 0);
  if (--it->second.answered + it->second.running == 0) calls_.erase(it);
}

}  // namespace reprise::api
