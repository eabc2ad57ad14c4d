// TimedMutex: a mutex that a caller with a deadline does not wait for any longer. For locks held
// over I/O; absl::Mutex, which cannot be waited for in part, is for all others. Thread-safe.
#pragma once

#include <mutex>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"

namespace reprise::cachestore {

class ABSL_LOCKABLE TimedMutex {
 public:
  // BLOCKS.
  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { mu_.lock(); }
  // False: it was not to be had by `deadline`. BLOCKS until then.
  bool LockBy(absl::Time deadline) ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true) {
    return mu_.try_lock_until(absl::ToChronoTime(deadline));
  }
  void Unlock() ABSL_UNLOCK_FUNCTION() { mu_.unlock(); }

 private:
  std::timed_mutex mu_;
};

// Holds a TimedMutex as long as it lives.
class ABSL_SCOPED_LOCKABLE TimedMutexLock {
 public:
  explicit TimedMutexLock(TimedMutex* mu) ABSL_EXCLUSIVE_LOCK_FUNCTION(mu) : mu_(mu) {
    mu_->Lock();
  }
  ~TimedMutexLock() ABSL_UNLOCK_FUNCTION() { mu_->Unlock(); }
  TimedMutexLock(const TimedMutexLock&) = delete;
  TimedMutexLock& operator=(const TimedMutexLock&) = delete;

 private:
  TimedMutex* const mu_;
};

}  // namespace reprise::cachestore
