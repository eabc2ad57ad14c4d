#include "api/auth/rate_limiter.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace reprise::api {
namespace {

constexpr absl::string_view kRetryAfter = "retry-after-ms=";

}  // namespace

void RateLimiter::Bucket::SetRate(int64_t rate, absl::Time now) {
  const bool was_limited = per_second > 0;
  if (was_limited) Fill(now);
  per_second = static_cast<double>(rate);
  level = was_limited ? std::min(level, per_second) : per_second;
  since = now;
}

void RateLimiter::Bucket::Fill(absl::Time now) {
  if (now <= since) return;
  level = std::min(per_second, level + per_second * absl::ToDoubleSeconds(now - since));
  since = now;
}

absl::Duration RateLimiter::Bucket::UntilHolds(double wanted) const {
  return absl::Seconds(std::max(0.0, wanted - level) / per_second);
}

void RateLimiter::SetLimits(const LimitsByTenant& limits, absl::Time now) {
  absl::MutexLock lock(&mu_);
  absl::flat_hash_map<std::string, Buckets> next;
  for (const auto& [tenant, limit] : limits) {
    const auto known = tenants_.find(tenant);
    Buckets buckets = known == tenants_.end() ? Buckets() : known->second;
    buckets.calls.SetRate(limit.calls_per_second, now);
    buckets.bytes.SetRate(limit.bytes_per_second, now);
    next.emplace(tenant, buckets);
  }
  tenants_ = std::move(next);
}

absl::Status RateLimiter::TakeCall(const std::string& tenant, absl::Time now) {
  absl::MutexLock lock(&mu_);
  const auto it = tenants_.find(tenant);
  if (it == tenants_.end()) return absl::OkStatus();
  auto& [calls, bytes] = it->second;
  absl::Duration wait;
  absl::string_view what;
  if (calls.per_second > 0) {
    calls.Fill(now);
    wait = calls.UntilHolds(1);
    what = "calls-per-second";
  }
  if (bytes.per_second > 0) {
    bytes.Fill(now);
    const absl::Duration until_paid = bytes.UntilHolds(0);
    if (until_paid > wait) {
      wait = until_paid;
      what = "bytes-per-second";
    }
  }
  if (wait <= absl::ZeroDuration()) {
    calls.level -= 1;
    return absl::OkStatus();
  }
  return ComeAgain(absl::StrCat("tenant ", tenant, " has used up its ", what), wait);
}

void RateLimiter::ChargeBytes(const std::string& tenant, int64_t bytes, absl::Time now) {
  absl::MutexLock lock(&mu_);
  const auto it = tenants_.find(tenant);
  if (it == tenants_.end() || it->second.bytes.per_second == 0) return;
  it->second.bytes.Fill(now);
  it->second.bytes.level -= static_cast<double>(bytes);
}

absl::Status ComeAgain(absl::string_view what, absl::Duration wait) {
  const int64_t milliseconds = absl::ToInt64Milliseconds(absl::Ceil(wait, absl::Milliseconds(1)));
  return absl::ResourceExhaustedError(absl::StrCat(what, "; ", kRetryAfter, milliseconds));
}

absl::Duration RetryAfter(const absl::Status& status) {
  const absl::string_view message = status.message();
  const size_t at = message.rfind(kRetryAfter);
  int64_t milliseconds = 0;
  if (status.code() != absl::StatusCode::kResourceExhausted || at == absl::string_view::npos ||
      !absl::SimpleAtoi(message.substr(at + kRetryAfter.size()), &milliseconds)) {
    return absl::ZeroDuration();
  }
  return absl::Milliseconds(milliseconds);
}

}  // namespace reprise::api
