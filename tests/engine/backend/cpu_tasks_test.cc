#include "engine/backend/cpu_tasks.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <atomic>
#include <thread>
#include <vector>

#include "absl/base/config.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace reprise::engine {
namespace {

constexpr int64_t kMuch = 1 << 20;  // of work: worth another thread

TEST(CpuTasksTest, EveryTaskRunsOnceOnAThreadInRange) {
  std::vector<std::atomic<int>> runs(1000);
  std::atomic<int> out_of_range{0};
  const int threads = CpuTaskThreads();
  RunCpuTasks(1000, kMuch, [&](int thread, int64_t task) {
    ++runs[task];
    if (thread < 0 || thread >= threads) ++out_of_range;
  });
  for (const std::atomic<int>& count : runs) EXPECT_EQ(count, 1);
  EXPECT_EQ(out_of_range, 0);
}

TEST(CpuTasksTest, MuchWorkIsSharedAndLittleIsNot) {
#ifdef ABSL_HAVE_THREAD_SANITIZER
  GTEST_SKIP() << "one thread under the thread sanitizer";
#endif
  omp_set_num_threads(2);
  // Each task waits for the other to begin, which it can on a thread of its own only.
  std::atomic<int> begun{0};
  std::atomic<int> together{0};
  const absl::Time give_up = absl::Now() + absl::Seconds(30);
  RunCpuTasks(2, kMuch, [&](int, int64_t) {
    ++begun;
    while (begun < 2 && absl::Now() < give_up) std::this_thread::yield();
    if (begun == 2) ++together;
  });
  EXPECT_EQ(together, 2);
  const std::thread::id self = std::this_thread::get_id();
  RunCpuTasks(2, 10, [&](int, int64_t) { EXPECT_EQ(std::this_thread::get_id(), self); });
}

}  // namespace
}  // namespace reprise::engine
