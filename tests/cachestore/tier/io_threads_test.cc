#include "cachestore/tier/io_threads.h"

#include <atomic>
#include <set>
#include <thread>

#include "absl/synchronization/barrier.h"
#include "absl/synchronization/mutex.h"
#include "gtest/gtest.h"

namespace reprise::cachestore {
namespace {

TEST(IoThreadsTest, RunsEverythingBeforeItEndsWorkPostedByWorkToo) {
  std::atomic<int> runs = 0;
  {
    IoThreads threads(3);
    for (int i = 0; i < 100; ++i) {
      threads.Post([&] {
        ++runs;
        threads.Post([&] {
          ++runs;
          threads.Post([&] { ++runs; });
        });
      });
    }
  }
  EXPECT_EQ(runs, 300);
}

TEST(IoThreadsTest, AllThreadsWorkAtOnce) {
  constexpr int kThreads = 4;
  absl::Mutex mu;
  std::set<std::thread::id> seen;
  auto* barrier = new absl::Barrier(kThreads);  // the last to pass it deletes it
  {
    IoThreads threads(kThreads);
    for (int i = 0; i < kThreads; ++i) {
      threads.Post([&] {
        if (barrier->Block()) delete barrier;
        absl::MutexLock lock(&mu);
        seen.insert(std::this_thread::get_id());
      });
    }
  }
  EXPECT_EQ(seen.size(), size_t{kThreads});
}

TEST(IoThreadsTest, OneThreadKeepsTheOrder) {
  std::vector<int> order;
  {
    IoThreads threads(1);
    for (int i = 0; i < 50; ++i) threads.Post([&order, i] { order.push_back(i); });
  }
  ASSERT_EQ(order.size(), 50u);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(order[i], i);
}

}  // namespace
}  // namespace reprise::cachestore
