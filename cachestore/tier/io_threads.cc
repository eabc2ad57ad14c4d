#include "cachestore/tier/io_threads.h"

#include <utility>

#include "cachestore/base/check.h"

namespace reprise::cachestore {

IoThreads::IoThreads(int num_threads) {
  CHECK(num_threads > 0);
  for (int i = 0; i < num_threads; ++i) threads_.emplace_back([this] { Run(); });
}

IoThreads::~IoThreads() {
  {
    absl::MutexLock lock(&mu_);
    closing_ = true;
    changed_.SignalAll();
  }
  for (std::thread& thread : threads_) thread.join();
}

void IoThreads::Post(absl::AnyInvocable<void() &&> work) {
  absl::MutexLock lock(&mu_);
  queue_.push_back(std::move(work));
  changed_.Signal();
}

void IoThreads::Run() {
  absl::MutexLock lock(&mu_);
  for (;;) {
    while (queue_.empty() && !(closing_ && running_ == 0)) changed_.Wait(&mu_);
    if (queue_.empty()) return;
    absl::AnyInvocable<void()&&> work = std::move(queue_.front());
    queue_.pop_front();
    ++running_;
    mu_.Unlock();
    std::move(work)();
    work = nullptr;
    mu_.Lock();
    if (--running_ == 0 && closing_) changed_.SignalAll();
  }
}

}  // namespace reprise::cachestore
