// W-TinyLFU: new blocks come into an LRU window of 1 % of the capacity; what leaves it contends
// with the victim of the main segmented LRU (80 % protected) by frequency, as a count-min sketch of
// four rows has it, whose counts of at most 15 are halved after ten uses per block of capacity.
// (Einziger, Friedman and Manes, "TinyLFU: a highly efficient cache admission policy", ACM ToS
// 2017.)
#include <algorithm>
#include <bit>
#include <vector>

#include "bench/hitrate/baselines/baselines.h"
#include "bench/hitrate/baselines/block_queues.h"

namespace reprise::bench {
namespace {

using cachestore::BlockNumber;

constexpr BlockQueues::Queue kWindow = 0, kProbation = 1, kProtected = 2;

class Sketch {
 public:
  explicit Sketch(int64_t capacity)
      : mask_(std::bit_ceil(static_cast<uint64_t>(capacity) * 4) - 1),
        sample_(10 * capacity),
        counts_(kRows * (mask_ + 1)) {}

  void Add(BlockNumber block) {
    for (uint64_t row = 0; row < kRows; ++row) {
      uint8_t& count = counts_[Place(block, row)];
      count = std::min<uint8_t>(count + 1, kMost);
    }
    if (++added_ < sample_) return;
    added_ /= 2;
    for (uint8_t& count : counts_) count /= 2;
  }
  uint8_t Count(BlockNumber block) const {
    uint8_t least = kMost;
    for (uint64_t row = 0; row < kRows; ++row) {
      least = std::min(least, counts_[Place(block, row)]);
    }
    return least;
  }

 private:
  static constexpr uint64_t kRows = 4;
  static constexpr uint8_t kMost = 15;

  size_t Place(BlockNumber block, uint64_t row) const {
    uint64_t x = (uint64_t{block} * kRows + row + 1) * 0x9e3779b97f4a7c15;
    x = (x ^ x >> 29) * 0xbf58476d1ce4e5b9;
    return row * (mask_ + 1) + ((x ^ x >> 32) & mask_);
  }

  const uint64_t mask_;  // places of a row, less one
  const int64_t sample_;
  std::vector<uint8_t> counts_;
  int64_t added_ = 0;
};

class WTinyLfu : public BlockPolicy {
 public:
  WTinyLfu(size_t num_blocks, int64_t capacity)
      : queues_(num_blocks, 3),
        sketch_(capacity),
        window_capacity_(std::max<int64_t>(1, capacity / 100)),
        main_capacity_(capacity - window_capacity_),
        protected_capacity_(main_capacity_ * 8 / 10) {}

  bool Contains(BlockNumber block) const override {
    return queues_.QueueOf(block) != BlockQueues::kNone;
  }
  void Use(const BlockUse& use) override {
    sketch_.Add(use.block);
    switch (queues_.QueueOf(use.block)) {
      case kProbation:
      case kProtected:
        queues_.MoveToFront(use.block, kProtected);
        if (queues_.size(kProtected) > protected_capacity_) {
          queues_.MoveToFront(queues_.Back(kProtected), kProbation);
        }
        break;
      default:
        queues_.MoveToFront(use.block, kWindow);
        if (queues_.size(kWindow) > window_capacity_) LeaveWindow();
    }
  }

 private:
  // The window's oldest block comes into the main part, or goes.
  void LeaveWindow() {
    const BlockNumber candidate = queues_.Back(kWindow);
    if (queues_.size(kProbation) + queues_.size(kProtected) < main_capacity_) {
      queues_.MoveToFront(candidate, kProbation);
      return;
    }
    const BlockNumber victim = queues_.Back(queues_.size(kProbation) > 0 ? kProbation : kProtected);
    if (victim == cachestore::kNoBlockNumber || sketch_.Count(candidate) <= sketch_.Count(victim)) {
      queues_.Remove(candidate);
      return;
    }
    queues_.Remove(victim);
    queues_.MoveToFront(candidate, kProbation);
  }

  BlockQueues queues_;
  Sketch sketch_;
  const int64_t window_capacity_;
  const int64_t main_capacity_;
  const int64_t protected_capacity_;
};

}  // namespace

std::unique_ptr<BlockPolicy> MakeWTinyLfu(size_t num_blocks, int64_t capacity) {
  return std::make_unique<WTinyLfu>(num_blocks, capacity);
}

}  // namespace reprise::bench
