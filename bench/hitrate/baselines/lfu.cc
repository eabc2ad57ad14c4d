// LFU with perfect counts: the block with the fewest uses goes, of those the one used longest ago.
// Counts are kept for blocks that went. (Aho, Denning and Ullman, "Principles of optimal page
// replacement", 1971.)
#include <utility>
#include <vector>

#include "bench/hitrate/baselines/baselines.h"
#include "bench/hitrate/baselines/ranked_blocks.h"

namespace reprise::bench {
namespace {

class Lfu : public BlockPolicy {
 public:
  Lfu(size_t num_blocks, int64_t capacity)
      : blocks_(num_blocks), uses_(num_blocks), capacity_(capacity) {}

  bool Contains(cachestore::BlockNumber block) const override { return blocks_.Contains(block); }
  void Use(const BlockUse& use) override {
    if (!Contains(use.block) && blocks_.size() == capacity_) blocks_.Remove(blocks_.Least().second);
    blocks_.Set(use.block, {++uses_[use.block], ++clock_});
  }

 private:
  RankedBlocks<std::pair<uint32_t, uint64_t>> blocks_;  // by (uses, last use)
  std::vector<uint32_t> uses_;                          // by block
  const int64_t capacity_;
  uint64_t clock_ = 0;
};

}  // namespace

std::unique_ptr<BlockPolicy> MakeLfu(size_t num_blocks, int64_t capacity) {
  return std::make_unique<Lfu>(num_blocks, capacity);
}

}  // namespace reprise::bench
