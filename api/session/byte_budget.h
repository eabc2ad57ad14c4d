// ByteBudget: how much of a limit is taken. Thread-safe.
#pragma once

#include <algorithm>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace reprise::api {

class ByteBudget {
 public:
  explicit ByteBudget(int64_t limit) : limit_(limit) {}

  // Takes as many pieces of `bytes` (> 0) each as there is room for, `wanted` at most; how many.
  int64_t Take(int64_t bytes, int64_t wanted) {
    absl::MutexLock lock(&mu_);
    const int64_t taken = std::min(wanted, (limit_ - used_) / bytes);
    used_ += taken * bytes;
    return taken;
  }

  // REQUIRES: so much was taken.
  void Give(int64_t bytes) {
    absl::MutexLock lock(&mu_);
    used_ -= bytes;
  }

  int64_t limit() const { return limit_; }
  int64_t used() const {
    absl::MutexLock lock(&mu_);
    return used_;
  }

 private:
  const int64_t limit_;
  mutable absl::Mutex mu_;
  int64_t used_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace reprise::api
