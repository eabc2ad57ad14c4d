// Keeper: one thread that does soon what must not be done at once (in a callback of the store), and
// again and again what is due at a time.
#pragma once

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace reprise::api {

// What a keeper has to do. Shared with those who ask it to, who may outlive it. Thread-safe; its
// lock is a leaf, so any thread may ask at any time.
class KeeperQueue {
 public:
  // Runs `task` soon, on the keeper's thread; not any more once the keeper has gone.
  void Post(std::function<void()> task);
  // The keeper ticks at `time`, or sooner.
  void WakeBy(absl::Time time);

  // For the keeper alone.
  struct Work {
    std::vector<std::function<void()>> tasks;
    bool tick = false;
    bool closed = false;  // there is none any more
  };
  // Waits for work. A tick is not due before `next_tick`. BLOCKS.
  Work Await(absl::Time next_tick);
  void Close();

 private:
  absl::Mutex mu_;
  absl::CondVar changed_;
  std::vector<std::function<void()>> tasks_ ABSL_GUARDED_BY(mu_);
  absl::Time wake_ ABSL_GUARDED_BY(mu_) = absl::InfiniteFuture();
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
};

class Keeper {
 public:
  // `tick`, given the time, does what is due and says when there is more. On the keeper's thread.
  explicit Keeper(std::function<absl::Time(absl::Time)> tick);
  // Ends the thread; tasks that have not begun are dropped.
  ~Keeper();

  const std::shared_ptr<KeeperQueue>& queue() const { return queue_; }

 private:
  void Run();

  const std::function<absl::Time(absl::Time)> tick_;
  const std::shared_ptr<KeeperQueue> queue_ = std::make_shared<KeeperQueue>();
  std::thread thread_;
};

}  // namespace reprise::api
