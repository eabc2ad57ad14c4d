// FIFO: the block that came first goes first, whatever its uses.
#include "bench/hitrate/baselines/baselines.h"
#include "bench/hitrate/baselines/block_queues.h"

namespace reprise::bench {
namespace {

constexpr BlockQueues::Queue kAll = 0;

class Fifo : public BlockPolicy {
 public:
  Fifo(size_t num_blocks, int64_t capacity) : queues_(num_blocks, 1), capacity_(capacity) {}

  bool Contains(cachestore::BlockNumber block) const override { return queues_.IsIn(block, kAll); }
  void Use(const BlockUse& use) override {
    if (Contains(use.block)) return;
    if (queues_.size(kAll) == capacity_) queues_.Remove(queues_.Back(kAll));
    queues_.MoveToFront(use.block, kAll);
  }

 private:
  BlockQueues queues_;
  const int64_t capacity_;
};

}  // namespace

std::unique_ptr<BlockPolicy> MakeFifo(size_t num_blocks, int64_t capacity) {
  return std::make_unique<Fifo>(num_blocks, capacity);
}

}  // namespace reprise::bench
