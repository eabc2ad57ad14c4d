// LRU-2: the block whose last use but one is the longest ago goes; blocks used once go before all
// others, in the order of that use. The history of blocks that went is kept; no correlated
// reference period. (O'Neil, O'Neil and Weikum, "The LRU-K page replacement algorithm", SIGMOD
// 1993.)
#include <utility>
#include <vector>

#include "bench/hitrate/baselines/baselines.h"
#include "bench/hitrate/baselines/ranked_blocks.h"

namespace reprise::bench {
namespace {

class Lru2 : public BlockPolicy {
 public:
  Lru2(size_t num_blocks, int64_t capacity)
      : blocks_(num_blocks), last_(num_blocks), capacity_(capacity) {}

  bool Contains(cachestore::BlockNumber block) const override { return blocks_.Contains(block); }
  void Use(const BlockUse& use) override {
    if (!Contains(use.block) && blocks_.size() == capacity_) blocks_.Remove(blocks_.Least().second);
    const uint64_t last_but_one = last_[use.block];
    last_[use.block] = ++clock_;
    blocks_.Set(use.block, {last_but_one, clock_});
  }

 private:
  RankedBlocks<std::pair<uint64_t, uint64_t>> blocks_;  // by (last use but one, last use)
  std::vector<uint64_t> last_;                          // by block; 0: never used
  const int64_t capacity_;
  uint64_t clock_ = 0;
};

}  // namespace

std::unique_ptr<BlockPolicy> MakeLru2(size_t num_blocks, int64_t capacity) {
  return std::make_unique<Lru2>(num_blocks, capacity);
}

}  // namespace reprise::bench
