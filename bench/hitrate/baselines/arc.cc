// ARC: two LRU queues, of blocks used once lately (T1) and more often (T2), with as much memory of
// what went (B1, B2); a hit in either memory moves the target size of T1. No parameters. (Megiddo
// and Modha, "ARC: a self-tuning, low overhead replacement cache", FAST 2003.)
#include <algorithm>

#include "bench/hitrate/baselines/baselines.h"
#include "bench/hitrate/baselines/block_queues.h"

namespace reprise::bench {
namespace {

constexpr BlockQueues::Queue kT1 = 0, kT2 = 1, kB1 = 2, kB2 = 3;

class Arc : public BlockPolicy {
 public:
  Arc(size_t num_blocks, int64_t capacity) : queues_(num_blocks, 4), capacity_(capacity) {}

  bool Contains(cachestore::BlockNumber block) const override {
    return queues_.IsIn(block, kT1) || queues_.IsIn(block, kT2);
  }
  void Use(const BlockUse& use) override {
    const BlockQueues::Queue queue = queues_.QueueOf(use.block);
    if (queue == kB1) {
      const int64_t step = std::max<int64_t>(1, queues_.size(kB2) / queues_.size(kB1));
      target_ = std::min(capacity_, target_ + step);
      Replace(false);
    } else if (queue == kB2) {
      const int64_t step = std::max<int64_t>(1, queues_.size(kB1) / queues_.size(kB2));
      target_ = std::max<int64_t>(0, target_ - step);
      Replace(true);
    } else if (queue == BlockQueues::kNone) {
      MakeRoom();
    }
    queues_.MoveToFront(use.block, queue == BlockQueues::kNone ? kT1 : kT2);
  }

 private:
  // For a block that is neither there nor remembered.
  void MakeRoom() {
    const int64_t once = queues_.size(kT1) + queues_.size(kB1);
    const int64_t all = once + queues_.size(kT2) + queues_.size(kB2);
    if (once == capacity_) {
      if (queues_.size(kT1) == capacity_) {
        queues_.Remove(queues_.Back(kT1));
        return;
      }
      queues_.Remove(queues_.Back(kB1));
      Replace(false);
    } else if (all >= capacity_) {
      if (all == 2 * capacity_) queues_.Remove(queues_.Back(kB2));
      Replace(false);
    }
  }
  // Moves a block out of T1 or T2 into its memory. Does nothing while there is room.
  void Replace(bool found_in_b2) {
    const int64_t t1 = queues_.size(kT1);
    if (t1 + queues_.size(kT2) < capacity_) return;
    if (t1 > 0 && (t1 > target_ || (found_in_b2 && t1 == target_) || queues_.size(kT2) == 0)) {
      queues_.MoveToFront(queues_.Back(kT1), kB1);
    } else {
      queues_.MoveToFront(queues_.Back(kT2), kB2);
    }
  }

  BlockQueues queues_;
  const int64_t capacity_;
  int64_t target_ = 0;  // size of T1
};

}  // namespace

std::unique_ptr<BlockPolicy> MakeArc(size_t num_blocks, int64_t capacity) {
  return std::make_unique<Arc>(num_blocks, capacity);
}

}  // namespace reprise::bench
