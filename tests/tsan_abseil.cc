// Tells the thread sanitizer what absl::Mutex, absl::CondVar and absl::Notification order. The
// Abseil of the distribution is not built with the sanitizer, which therefore sees none of their
// locks and takes everything they guard for a race. Linked into the tests of thread-sanitized
// builds only: the linker's
// --wrap sends each call of our code to a function named below (tests/CMakeLists.txt collects the
// names).
//
// A reader's unlock is told like a writer's. The sanitizer then believes readers to be ordered
// among each other, which hides no race with a write under the lock.
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

extern "C" void __tsan_acquire(void* address);
extern "C" void __tsan_release(void* address);

namespace {

// A condition as it is evaluated: by any thread that holds the mutex, while the one that waits does
// not.
struct WatchedCondition {
  void* mutex;
  const absl::Condition* condition;
};

bool EvaluateLocked(WatchedCondition* watched) {
  __tsan_acquire(watched->mutex);
  const bool value = watched->condition->Eval();
  __tsan_release(watched->mutex);
  return value;
}

}  // namespace

// Abseil's mangled names cannot be spelled any other way.
extern "C" {

#define REPRISE_ACQUIRES(name)       \
  void __real_##name(void* object);  \
  void __wrap_##name(void* object) { \
    __real_##name(object);           \
    __tsan_acquire(object);          \
  }
#define REPRISE_RELEASES(name)       \
  void __real_##name(void* object);  \
  void __wrap_##name(void* object) { \
    __tsan_release(object);          \
    __real_##name(object);           \
  }
// Acquires `lock` when it returns true.
#define REPRISE_TRIES(name)                  \
  bool __real_##name(void* lock);            \
  bool __wrap_##name(void* lock) {           \
    const bool locked = __real_##name(lock); \
    if (locked) __tsan_acquire(lock);        \
    return locked;                           \
  }
// Give the mutex away while they wait, and have it again afterwards.
#define REPRISE_MUTEX_WAITS(name, Limit)                                                        \
  bool __real_##name(void* mutex, const absl::Condition& condition, Limit limit);               \
  bool __wrap_##name(void* mutex, const absl::Condition& condition, Limit limit) {              \
    __tsan_release(mutex);                                                                      \
    WatchedCondition watched = {mutex, &condition};                                             \
    const bool result = __real_##name(mutex, absl::Condition(EvaluateLocked, &watched), limit); \
    __tsan_acquire(mutex);                                                                      \
    return result;                                                                              \
  }
#define REPRISE_CONDVAR_WAITS(name, Limit)                      \
  bool __real_##name(void* condvar, void* mutex, Limit limit);  \
  bool __wrap_##name(void* condvar, void* mutex, Limit limit) { \
    __tsan_release(mutex);                                      \
    const bool result = __real_##name(condvar, mutex, limit);   \
    __tsan_acquire(mutex);                                      \
    return result;                                              \
  }

#define REPRISE_MUTEX_WAITS_FOREVER(name)                             \
  void __real_##name(void* mutex, const absl::Condition& condition);  \
  void __wrap_##name(void* mutex, const absl::Condition& condition) { \
    __tsan_release(mutex);                                            \
    WatchedCondition watched = {mutex, &condition};                   \
    __real_##name(mutex, absl::Condition(EvaluateLocked, &watched));  \
    __tsan_acquire(mutex);                                            \
  }
#define REPRISE_CONDVAR_WAITS_FOREVER(name)        \
  void __real_##name(void* condvar, void* mutex);  \
  void __wrap_##name(void* condvar, void* mutex) { \
    __tsan_release(mutex);                         \
    __real_##name(condvar, mutex);                 \
    __tsan_acquire(mutex);                         \
  }

REPRISE_ACQUIRES(_ZN4absl7debian35Mutex4LockEv)
REPRISE_ACQUIRES(_ZN4absl7debian35Mutex10ReaderLockEv)
REPRISE_RELEASES(_ZN4absl7debian35Mutex6UnlockEv)
REPRISE_RELEASES(_ZN4absl7debian35Mutex12ReaderUnlockEv)
REPRISE_TRIES(_ZN4absl7debian35Mutex7TryLockEv)
REPRISE_TRIES(_ZN4absl7debian35Mutex13ReaderTryLockEv)
REPRISE_MUTEX_WAITS_FOREVER(_ZN4absl7debian35Mutex5AwaitERKNS0_9ConditionE)
REPRISE_CONDVAR_WAITS_FOREVER(_ZN4absl7debian37CondVar4WaitEPNS0_5MutexE)
REPRISE_MUTEX_WAITS(_ZN4absl7debian35Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE,
                    absl::Duration)
REPRISE_MUTEX_WAITS(_ZN4absl7debian35Mutex17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE,
                    absl::Time)
REPRISE_CONDVAR_WAITS(_ZN4absl7debian37CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE,
                      absl::Duration)
REPRISE_CONDVAR_WAITS(_ZN4absl7debian37CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE, absl::Time)
REPRISE_RELEASES(_ZN4absl7debian312Notification6NotifyEv)
REPRISE_ACQUIRES(_ZNK4absl7debian312Notification19WaitForNotificationEv)

}  // extern "C"
