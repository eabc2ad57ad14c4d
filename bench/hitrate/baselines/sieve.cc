// SIEVE: a FIFO in which a hand goes from the oldest block to the youngest, again and again; it
// forgives blocks that were used since it passed, where they are, and takes the first other one. No
// parameters. (Zhang and others, "SIEVE is simpler than LRU", NSDI 2024.)
#include <vector>

#include "bench/hitrate/baselines/baselines.h"
#include "bench/hitrate/baselines/block_queues.h"

namespace reprise::bench {
namespace {

using cachestore::BlockNumber;
using cachestore::kNoBlockNumber;

constexpr BlockQueues::Queue kAll = 0;

class Sieve : public BlockPolicy {
 public:
  Sieve(size_t num_blocks, int64_t capacity)
      : queues_(num_blocks, 1), used_(num_blocks), capacity_(capacity) {}

  bool Contains(BlockNumber block) const override { return queues_.IsIn(block, kAll); }
  void Use(const BlockUse& use) override {
    if (Contains(use.block)) {
      used_[use.block] = true;
      return;
    }
    if (queues_.size(kAll) == capacity_) Evict();
    used_[use.block] = false;
    queues_.MoveToFront(use.block, kAll);
  }

 private:
  void Evict() {
    BlockNumber at = hand_ == kNoBlockNumber ? queues_.Back(kAll) : hand_;
    while (used_[at]) {
      used_[at] = false;
      at = queues_.Before(at);
      if (at == kNoBlockNumber) at = queues_.Back(kAll);
    }
    hand_ = queues_.Before(at);
    queues_.Remove(at);
  }

  BlockQueues queues_;
  std::vector<bool> used_;  // by block: since the hand passed
  const int64_t capacity_;
  BlockNumber hand_ = kNoBlockNumber;  // kNoBlockNumber: at the back
};

}  // namespace

std::unique_ptr<BlockPolicy> MakeSieve(size_t num_blocks, int64_t capacity) {
  return std::make_unique<Sieve>(num_blocks, capacity);
}

}  // namespace reprise::bench
