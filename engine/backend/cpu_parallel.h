// ParallelRanges, ParallelItems: a loop shared by the OpenMP threads. OpenMP, and not a pool of our
// own, because the matrix products run on OpenMP too: one set of threads serves both.
//
// A loop with fewer than `minimum` units of work runs on the calling thread alone: waking the
// others costs a few microseconds. The threads only decide who computes an item, never how.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

#include "absl/base/config.h"

namespace reprise::engine {

// Threads for a loop of `count` items that together are `work` units of work.
inline int LoopThreads(int64_t count, int64_t work, int64_t minimum) {
#ifdef ABSL_HAVE_THREAD_SANITIZER
  return 1;  // it cannot see the OpenMP runtime's barriers and would report every loop
#else
  if (work < minimum) return 1;
  return static_cast<int>(std::min<int64_t>(omp_get_max_threads(), count));
#endif
}

// Calls fn(thread, begin, end) so that the calls cover [0, count) once, one run of items a thread.
// Runs on the calling thread alone when count x work_per_item < minimum.
template <typename Fn>
void ParallelRanges(int64_t count, int64_t work_per_item, int64_t minimum, const Fn& fn) {
  const int threads = LoopThreads(count, count * work_per_item, minimum);
  if (threads <= 1) {
    if (count > 0) fn(0, int64_t{0}, count);
    return;
  }
#pragma omp parallel num_threads(threads)
  {
    const int64_t team = omp_get_num_threads();
    const int64_t me = omp_get_thread_num();
    fn(static_cast<int>(me), count * me / team, count * (me + 1) / team);
  }
}

// Calls fn(thread, item) once for every item of [0, count), in that order of starting; a thread
// that is done takes the next item. For items of unequal cost.
template <typename Fn>
void ParallelItems(int64_t count, int64_t work_per_item, int64_t minimum, const Fn& fn) {
  const int threads = LoopThreads(count, count * work_per_item, minimum);
  if (threads <= 1) {
    for (int64_t item = 0; item < count; ++item) fn(0, item);
    return;
  }
#pragma omp parallel num_threads(threads)
  {
    const int me = omp_get_thread_num();
#pragma omp for schedule(dynamic, 1) nowait
    for (int64_t item = 0; item < count; ++item) fn(me, item);
  }
}

}  // namespace reprise::engine
