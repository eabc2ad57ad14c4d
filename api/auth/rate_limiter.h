// RateLimiter: how many calls and bytes each tenant may still take now. Every limit is a bucket
// that fills with time up to what one second gives. A call takes one from its bucket before it
// begins; bytes are taken after they were moved, and may leave the bucket in debt, which later
// calls wait for. Thread-safe.
#pragma once

#include <cstdint>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "api/auth/credentials.h"

namespace reprise::api {

class RateLimiter {
 public:
  // Replaces all limits. Buckets of tenants that had a limit before keep what is in them.
  void SetLimits(const LimitsByTenant& limits, absl::Time now);

  // Takes one call of `tenant`. kResourceExhausted: it has none left, or owes bytes; the message
  // ends with "retry-after-ms=N", after which time a call will be taken if nobody comes before.
  absl::Status TakeCall(const std::string& tenant, absl::Time now);
  // Takes `bytes` that a call of `tenant` has moved.
  void ChargeBytes(const std::string& tenant, int64_t bytes, absl::Time now);

 private:
  // Level at `since`; grows by `per_second` up to it.
  struct Bucket {
    double per_second = 0;  // 0: no limit
    double level = 0;
    absl::Time since;

    void SetRate(int64_t rate, absl::Time now);
    void Fill(absl::Time now);
    // When the level will be at least `wanted`. REQUIRES: filled, and there is a limit.
    absl::Duration UntilHolds(double wanted) const;
  };
  struct Buckets {
    Bucket calls;
    Bucket bytes;
  };

  absl::Mutex mu_;
  absl::flat_hash_map<std::string, Buckets> tenants_ ABSL_GUARDED_BY(mu_);
};

// A kResourceExhausted that says what is used up, and to come again after `wait`.
absl::Status ComeAgain(absl::string_view what, absl::Duration wait);

// How long to wait as a kResourceExhausted message says it; zero when it says nothing.
absl::Duration RetryAfter(const absl::Status& status);

}  // namespace reprise::api
