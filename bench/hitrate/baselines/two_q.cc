// 2Q, the full version: new blocks pass through a FIFO of a quarter of the capacity; those that are
// asked for again after they left it, while remembered among the last of half the capacity, come
// into an LRU of the rest. (Johnson and Shasha, "2Q: a low overhead high performance buffer
// management replacement algorithm", VLDB 1994.)
#include <algorithm>

#include "bench/hitrate/baselines/baselines.h"
#include "bench/hitrate/baselines/block_queues.h"

namespace reprise::bench {
namespace {

constexpr BlockQueues::Queue kIn = 0, kOut = 1, kMain = 2;

class TwoQ : public BlockPolicy {
 public:
  TwoQ(size_t num_blocks, int64_t capacity)
      : queues_(num_blocks, 3),
        capacity_(capacity),
        in_capacity_(std::max<int64_t>(1, capacity / 4)),
        out_capacity_(std::max<int64_t>(1, capacity / 2)) {}

  bool Contains(cachestore::BlockNumber block) const override {
    return queues_.IsIn(block, kIn) || queues_.IsIn(block, kMain);
  }
  void Use(const BlockUse& use) override {
    switch (queues_.QueueOf(use.block)) {
      case kMain:
        queues_.MoveToFront(use.block, kMain);
        break;
      case kIn:
        break;
      case kOut:
        MakeRoom();
        queues_.MoveToFront(use.block, kMain);
        break;
      default:
        MakeRoom();
        queues_.MoveToFront(use.block, kIn);
    }
  }

 private:
  void MakeRoom() {
    if (queues_.size(kIn) + queues_.size(kMain) < capacity_) return;
    if (queues_.size(kIn) <= in_capacity_ && queues_.size(kMain) > 0) {
      queues_.Remove(queues_.Back(kMain));
      return;
    }
    queues_.MoveToFront(queues_.Back(kIn), kOut);
    if (queues_.size(kOut) > out_capacity_) queues_.Remove(queues_.Back(kOut));
  }

  BlockQueues queues_;
  const int64_t capacity_;
  const int64_t in_capacity_;
  const int64_t out_capacity_;
};

}  // namespace

std::unique_ptr<BlockPolicy> MakeTwoQ(size_t num_blocks, int64_t capacity) {
  return std::make_unique<TwoQ>(num_blocks, capacity);
}

}  // namespace reprise::bench
