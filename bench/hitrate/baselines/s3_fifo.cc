// S3-FIFO: new blocks pass through a small FIFO of 10 % of the capacity; those used more than once
// there move into the main FIFO, where blocks used since come round again, up to three times; the
// others are remembered, as many as the main FIFO holds, and come into it when they come again.
// (Yang and others, "FIFO queues are all you need for cache eviction", SOSP 2023.)
#include <algorithm>
#include <vector>

#include "bench/hitrate/baselines/baselines.h"
#include "bench/hitrate/baselines/block_queues.h"

namespace reprise::bench {
namespace {

using cachestore::BlockNumber;

constexpr BlockQueues::Queue kSmall = 0, kMain = 1, kGhost = 2;
constexpr uint8_t kMostUses = 3;

class S3Fifo : public BlockPolicy {
 public:
  S3Fifo(size_t num_blocks, int64_t capacity)
      : queues_(num_blocks, 3),
        uses_(num_blocks),
        capacity_(capacity),
        small_capacity_(std::max<int64_t>(1, capacity / 10)),
        main_capacity_(std::max<int64_t>(1, capacity - small_capacity_)) {}

  bool Contains(BlockNumber block) const override {
    return queues_.IsIn(block, kSmall) || queues_.IsIn(block, kMain);
  }
  void Use(const BlockUse& use) override {
    if (Contains(use.block)) {
      uses_[use.block] = std::min<uint8_t>(uses_[use.block] + 1, kMostUses);
      return;
    }
    while (queues_.size(kSmall) + queues_.size(kMain) >= capacity_) Evict();
    uses_[use.block] = 0;
    queues_.MoveToFront(use.block, queues_.IsIn(use.block, kGhost) ? kMain : kSmall);
  }

 private:
  void Evict() {
    if (queues_.size(kSmall) >= small_capacity_) {
      EvictFromSmall();
    } else {
      EvictFromMain();
    }
  }
  // Takes a block away; those that were used meanwhile move on, until there is one, or no other.
  void EvictFromSmall() {
    while (queues_.size(kSmall) > 0) {
      const BlockNumber oldest = queues_.Back(kSmall);
      if (uses_[oldest] <= 1) {
        queues_.MoveToFront(oldest, kGhost);
        if (queues_.size(kGhost) > main_capacity_) queues_.Remove(queues_.Back(kGhost));
        return;
      }
      uses_[oldest] = 0;
      queues_.MoveToFront(oldest, kMain);
      if (queues_.size(kMain) > main_capacity_) EvictFromMain();
    }
  }
  void EvictFromMain() {
    while (queues_.size(kMain) > 0) {
      const BlockNumber oldest = queues_.Back(kMain);
      if (uses_[oldest] == 0) return queues_.Remove(oldest);
      --uses_[oldest];
      queues_.MoveToFront(oldest, kMain);
    }
  }

  BlockQueues queues_;
  std::vector<uint8_t> uses_;  // by block, capped
  const int64_t capacity_;
  const int64_t small_capacity_;
  const int64_t main_capacity_;  // and of the memory of what went
};

}  // namespace

std::unique_ptr<BlockPolicy> MakeS3Fifo(size_t num_blocks, int64_t capacity) {
  return std::make_unique<S3Fifo>(num_blocks, capacity);
}

}  // namespace reprise::bench
