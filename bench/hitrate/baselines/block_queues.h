// BlockQueues: a few queues of block numbers, each block in one of them at most. Every operation
// takes constant time. Thread-compatible.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cachestore/trace/trace.h"

namespace reprise::bench {

class BlockQueues {
 public:
  using Queue = uint8_t;
  static constexpr Queue kNone = 0xff;

  // Queues 0 to num_queues - 1, for blocks below `num_blocks`.
  BlockQueues(size_t num_blocks, Queue num_queues) : nodes_(num_blocks), ends_(num_queues) {}

  Queue QueueOf(cachestore::BlockNumber block) const { return nodes_[block].queue; }
  bool IsIn(cachestore::BlockNumber block, Queue queue) const { return QueueOf(block) == queue; }
  int64_t size(Queue queue) const { return ends_[queue].size; }
  // kNoBlockNumber when the queue is empty.
  cachestore::BlockNumber Front(Queue queue) const { return ends_[queue].front; }
  cachestore::BlockNumber Back(Queue queue) const { return ends_[queue].back; }
  // The block before it, towards the front; kNoBlockNumber at the front.
  cachestore::BlockNumber Before(cachestore::BlockNumber block) const {
    return nodes_[block].before;
  }

  // Takes the block out of its queue, if it is in one, and puts it in front of `queue`.
  void MoveToFront(cachestore::BlockNumber block, Queue queue) {
    Remove(block);
    Ends& ends = ends_[queue];
    nodes_[block] = {cachestore::kNoBlockNumber, ends.front, queue};
    (ends.front == cachestore::kNoBlockNumber ? ends.back : nodes_[ends.front].before) = block;
    ends.front = block;
    ++ends.size;
  }
  void Remove(cachestore::BlockNumber block) {
    Node& node = nodes_[block];
    if (node.queue == kNone) return;
    Ends& ends = ends_[node.queue];
    const bool is_front = node.before == cachestore::kNoBlockNumber;
    const bool is_back = node.after == cachestore::kNoBlockNumber;
    (is_front ? ends.front : nodes_[node.before].after) = node.after;
    (is_back ? ends.back : nodes_[node.after].before) = node.before;
    --ends.size;
    node = {};
  }

 private:
  struct Node {
    cachestore::BlockNumber before = cachestore::kNoBlockNumber;
    cachestore::BlockNumber after = cachestore::kNoBlockNumber;
    Queue queue = kNone;
  };
  struct Ends {
    cachestore::BlockNumber front = cachestore::kNoBlockNumber;
    cachestore::BlockNumber back = cachestore::kNoBlockNumber;
    int64_t size = 0;
  };
  std::vector<Node> nodes_;  // by block
  std::vector<Ends> ends_;   // by queue
};

}  // namespace reprise::bench
