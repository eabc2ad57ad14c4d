// IoThreads: a fixed number of threads that run pieces of blocking work in the order in which they
// were posted. Thread-safe; no lock is held while work runs, and work may post more.
#pragma once

#include <deque>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/synchronization/mutex.h"

namespace reprise::cachestore {

class IoThreads {
 public:
  // REQUIRES: num_threads > 0.
  explicit IoThreads(int num_threads);
  // Waits until everything posted has run. BLOCKS.
  ~IoThreads();

  IoThreads(const IoThreads&) = delete;
  IoThreads& operator=(const IoThreads&) = delete;

  // Runs `work` once, on one of the threads. Never blocks.
  void Post(absl::AnyInvocable<void() &&> work) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void Run();

  absl::Mutex mu_;
  absl::CondVar changed_;  // work was posted, or the end has come
  std::deque<absl::AnyInvocable<void() &&>> queue_ ABSL_GUARDED_BY(mu_);
  bool closing_ ABSL_GUARDED_BY(mu_) = false;
  int running_ ABSL_GUARDED_BY(mu_) = 0;  // threads inside work, which may post more
  std::vector<std::thread> threads_;
};

}  // namespace reprise::cachestore
