// Greedy-Dual-Size with Frequency, for blocks of one size and cost: the block with the least
// (uses since it came in + the rank of the block that went last) goes. (Cherkasova, "Improving WWW
// proxies performance with Greedy-Dual-Size-Frequency caching policy", HP Labs 1998.)
#include <utility>
#include <vector>

#include "bench/hitrate/baselines/baselines.h"
#include "bench/hitrate/baselines/ranked_blocks.h"

namespace reprise::bench {
namespace {

class Gdsf : public BlockPolicy {
 public:
  Gdsf(size_t num_blocks, int64_t capacity)
      : blocks_(num_blocks), uses_(num_blocks), capacity_(capacity) {}

  bool Contains(cachestore::BlockNumber block) const override { return blocks_.Contains(block); }
  void Use(const BlockUse& use) override {
    if (!Contains(use.block)) {
      uses_[use.block] = 0;
      if (blocks_.size() == capacity_) {
        const auto [rank, victim] = blocks_.Least();
        inflation_ = rank.first;
        blocks_.Remove(victim);
      }
    }
    blocks_.Set(use.block, {inflation_ + ++uses_[use.block], ++clock_});
  }

 private:
  RankedBlocks<std::pair<uint64_t, uint64_t>> blocks_;  // by (rank, last use)
  std::vector<uint64_t> uses_;                          // by block, since it came in
  const int64_t capacity_;
  uint64_t inflation_ = 0;
  uint64_t clock_ = 0;
};

}  // namespace

std::unique_ptr<BlockPolicy> MakeGdsf(size_t num_blocks, int64_t capacity) {
  return std::make_unique<Gdsf>(num_blocks, capacity);
}

}  // namespace reprise::bench
