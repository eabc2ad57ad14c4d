#include "cachestore/store/transfer_queue.h"

#include <utility>

namespace reprise::cachestore {

TransferQueue::TransferQueue(int num_threads, int max_queued, std::function<void(BlockId)> transfer)
    : max_queued_(static_cast<size_t>(max_queued)), transfer_(std::move(transfer)) {
  for (int i = 0; i < num_threads; ++i) threads_.emplace_back([this] { Run(); });
}

TransferQueue::~TransferQueue() { Close(); }

bool TransferQueue::TryPush(BlockId id) {
  absl::MutexLock lock(&mu_);
  if (closed_ || queue_.size() >= max_queued_) return false;
  queue_.push_back(id);
  changed_.Signal();
  return true;
}

void TransferQueue::Close() {
  {
    absl::MutexLock lock(&mu_);
    closed_ = true;
    changed_.SignalAll();
  }
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void TransferQueue::Run() {
  for (;;) {
    BlockId id = kNoBlock;
    {
      absl::MutexLock lock(&mu_);
      while (!closed_ && queue_.empty()) changed_.Wait(&mu_);
      if (queue_.empty()) return;
      id = queue_.front();
      queue_.pop_front();
    }
    transfer_(id);
  }
}

}  // namespace reprise::cachestore
