// ParallelFor: one loop shared by the OpenMP threads. OpenMP, and not a pool of our own, because
// the matrix products run on OpenMP too: one set of threads serves both and none stands idle beside
// it.
//
// A loop with fewer than `minimum` units of work runs on the calling thread alone: waking the
// others costs a few microseconds. The threads only decide who computes an item, never how.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

#include "absl/base/config.h"

#ifdef ABSL_HAVE_THREAD_SANITIZER
#include <sanitizer/tsan_interface_atomic.h>
extern "C" void __tsan_acquire(void* address);
extern "C" void __tsan_release(void* address);
#endif

namespace reprise::engine {

#ifdef ABSL_HAVE_THREAD_SANITIZER
// The sanitizer cannot see the OpenMP runtime's own barriers.
inline void AcquireForSanitizer(void* address) { __tsan_acquire(address); }
inline void ReleaseForSanitizer(void* address) { __tsan_release(address); }
#else
inline void AcquireForSanitizer(void*) {}
inline void ReleaseForSanitizer(void*) {}
#endif

// Calls fn(thread, begin, end) so that the calls cover [0, count) once, one run of items a thread.
// Runs on the calling thread alone when count x work_per_item < minimum.
template <typename Fn>
void ParallelRanges(int64_t count, int64_t work_per_item, int64_t minimum, const Fn& fn) {
  const int threads = static_cast<int>(std::min<int64_t>(omp_get_max_threads(), count));
  if (threads <= 1 || count * work_per_item < minimum) {
    if (count > 0) fn(0, int64_t{0}, count);
    return;
  }
  char fork = 0;
  char join = 0;
  ReleaseForSanitizer(&fork);
#pragma omp parallel num_threads(threads)
  {
    AcquireForSanitizer(&fork);
    const int64_t team = omp_get_num_threads();
    const int64_t me = omp_get_thread_num();
    fn(static_cast<int>(me), count * me / team, count * (me + 1) / team);
    ReleaseForSanitizer(&join);
  }
  AcquireForSanitizer(&join);
}

// Calls fn(thread, item) once for every item of [0, count), in that order of starting; a thread
// that is done takes the next item. For items of unequal cost.
template <typename Fn>
void ParallelItems(int64_t count, int64_t work_per_item, int64_t minimum, const Fn& fn) {
  const int threads = static_cast<int>(std::min<int64_t>(omp_get_max_threads(), count));
  if (threads <= 1 || count * work_per_item < minimum) {
    for (int64_t item = 0; item < count; ++item) fn(0, item);
    return;
  }
  char fork = 0;
  char join = 0;
  ReleaseForSanitizer(&fork);
#pragma omp parallel num_threads(threads)
  {
    AcquireForSanitizer(&fork);
    const int me = omp_get_thread_num();
#pragma omp for schedule(dynamic, 1) nowait
    for (int64_t item = 0; item < count; ++item) fn(me, item);
    ReleaseForSanitizer(&join);
  }
  AcquireForSanitizer(&join);
}

}  // namespace reprise::engine
