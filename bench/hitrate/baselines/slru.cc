// Segmented LRU: blocks used once since they came wait in a probation segment, from which they go;
// a use moves them into a protected segment of 80 % of the capacity, whose oldest block goes back
// to the front of the other. (Karedla, Love and Wherry, "Caching strategies to improve disk system
// performance", IEEE Computer 1994.)
#include "bench/hitrate/baselines/baselines.h"
#include "bench/hitrate/baselines/block_queues.h"

namespace reprise::bench {
namespace {

constexpr BlockQueues::Queue kProbation = 0, kProtected = 1;
constexpr double kProtectedShare = 0.8;

class Slru : public BlockPolicy {
 public:
  Slru(size_t num_blocks, int64_t capacity)
      : queues_(num_blocks, 2),
        capacity_(capacity),
        protected_capacity_(static_cast<int64_t>(kProtectedShare * static_cast<double>(capacity))) {
  }

  bool Contains(cachestore::BlockNumber block) const override {
    return queues_.QueueOf(block) != BlockQueues::kNone;
  }
  void Use(const BlockUse& use) override {
    if (Contains(use.block)) {
      queues_.MoveToFront(use.block, kProtected);
      if (queues_.size(kProtected) > protected_capacity_) {
        queues_.MoveToFront(queues_.Back(kProtected), kProbation);
      }
      return;
    }
    if (queues_.size(kProbation) + queues_.size(kProtected) == capacity_) {
      queues_.Remove(queues_.Back(queues_.size(kProbation) > 0 ? kProbation : kProtected));
    }
    queues_.MoveToFront(use.block, kProbation);
  }

 private:
  BlockQueues queues_;
  const int64_t capacity_;
  const int64_t protected_capacity_;
};

}  // namespace

std::unique_ptr<BlockPolicy> MakeSlru(size_t num_blocks, int64_t capacity) {
  return std::make_unique<Slru>(num_blocks, capacity);
}

}  // namespace reprise::bench
