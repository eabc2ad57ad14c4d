// TransferQueue: a bounded first-in first-out queue of blocks and the threads that work on it. It
// owns the threads; what is done with a block is the callback's business. Thread-safe; mu_ is a
// leaf lock, never held while the callback runs.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "cachestore/block/block_id.h"

namespace reprise::cachestore {

class TransferQueue {
 public:
  // `transfer(id)` runs on one of `num_threads` threads, once for each pushed block.
  TransferQueue(int num_threads, int max_queued, std::function<void(BlockId)> transfer);
  // As Close().
  ~TransferQueue();

  // False when `max_queued` blocks wait already, or the queue is closed. Never blocks.
  bool TryPush(BlockId id);
  // Refuses new blocks, waits until those queued were worked on, and ends the threads. BLOCKS.
  void Close();

 private:
  void Run();

  const size_t max_queued_;
  const std::function<void(BlockId)> transfer_;
  absl::Mutex mu_;
  absl::CondVar changed_;  // a block was queued, or the queue was closed
  std::deque<BlockId> queue_ ABSL_GUARDED_BY(mu_);
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace reprise::cachestore
