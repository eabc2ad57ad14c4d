// LeaseStats: counters of sessions and leases, and how good the advice to load was. Thread-safe.
#pragma once

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace reprise::api {

class LeaseStats {
 public:
  // Plain data; units are in the names.
  struct Values {
    // Gauges.
    int64_t sessions = 0;  // also those that have ended and are anchored
    int64_t leases = 0;
    int64_t grants = 0;
    int64_t held_bytes = 0;  // of RAM, by leases and grants, and what is anchored
    int64_t prefetches = 0;  // under way
    // Counters.
    int64_t acquired_leases = 0;
    int64_t released_leases = 0;  // by their clients
    int64_t expired_leases = 0;
    int64_t orphaned_leases = 0;  // ended with their session
    int64_t failed_leases = 0;    // none of their blocks could be loaded
    int64_t advised_loads = 0;    // of all that is cached
    int64_t advised_part_loads = 0;
    int64_t advised_recomputes = 0;
    int64_t ignored_advice = 0;  // of these: the lease holds more than was advised to be loaded
    // Loads that were foretold when their lease was acquired and have ended well.
    int64_t foretold_loads = 0;
    int64_t foretold_load_us = 0;  // the sum of the medians
    int64_t real_load_us = 0;      // the sum of what they took
    int64_t late_loads = 0;        // that took longer than the 90th percentile foretold
    // Of these, those that were advised and took longer than computing their blocks would have, and
    // by how much.
    int64_t regretted_loads = 0;
    int64_t advice_regret_us = 0;
  };

  void Add(int64_t Values::*field, int64_t amount) {
    absl::MutexLock lock(&mu_);
    values_.*field += amount;
  }

  Values values() const {
    absl::MutexLock lock(&mu_);
    return values_;
  }

 private:
  mutable absl::Mutex mu_;
  Values values_ ABSL_GUARDED_BY(mu_);
};

}  // namespace reprise::api
