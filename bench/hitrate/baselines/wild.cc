// A policy by categories: a block's category is the type and turn of the request that used it last;
// for each category the chance of another use and its mean delay are learned, and delays are taken
// as exponential. The block that is least likely to be used within the time that a block stays
// goes, the deepest first. (Wang and others, "KVCache cache in the wild", ATC 2025.)
//
// Where the session is unknown, a request's turn is one more than that of the request that brought
// the last of its blocks that are not new. Observations lose half of their weight after a hundred
// thousand; blocks that went count like others. The time that a block stays is the capacity over
// the rate at which blocks come in.
#include <algorithm>
#include <cmath>
#include <vector>

#include "bench/hitrate/baselines/baselines.h"
#include "bench/hitrate/baselines/block_queues.h"

namespace reprise::bench {
namespace {

using cachestore::BlockNumber;

constexpr int kTurns = 8;  // the last one stands for all later ones
constexpr BlockQueues::Queue kNumCategories = cachestore::kNumTraceRequestTypes * kTurns;
constexpr double kHalfLife = 100'000;

// What is known about the blocks of a category.
struct Reuse {
  double uses = 1;
  double reuses = 0.5;
  double delays_ms = 30'000;  // summed over the reuses

  // The chance that a block that was not used for `age_ms` is, within `stay_ms` more.
  double Chance(double age_ms, double stay_ms) const {
    const double chance = std::min(1.0, reuses / uses);
    const double rate = reuses / std::max(1.0, delays_ms);
    const double later = std::exp(-rate * age_ms);  // of the reuses
    const double alive = 1 - chance * (1 - later);
    return alive > 0 ? chance * later * (1 - std::exp(-rate * stay_ms)) / alive : 0;
  }
};

class Wild : public BlockPolicy {
 public:
  Wild(size_t num_blocks, int64_t capacity)
      : queues_(num_blocks, kNumCategories),
        known_(num_blocks),
        reuse_(kNumCategories),
        capacity_(capacity) {}

  bool Contains(BlockNumber block) const override {
    return queues_.QueueOf(block) != BlockQueues::kNone;
  }
  void BeginRequest(const cachestore::TraceRequest& request,
                    absl::Span<const BlockNumber> chain) override {
    size_t old = chain.size();
    while (old > 0 && known_[chain[old - 1]].turn < 0) --old;
    const int turn = old == 0 ? 0 : std::min(known_[chain[old - 1]].turn + 1, kTurns - 1);
    for (size_t i = old; i < chain.size(); ++i) known_[chain[i]].turn = static_cast<int8_t>(turn);
    category_ = static_cast<BlockQueues::Queue>(static_cast<int>(request.type) * kTurns + turn);
    if (first_ms_ < 0) first_ms_ = request.time_ms;
    arrivals_ += static_cast<int64_t>(chain.size() - old);
  }
  void Use(const BlockUse& use) override {
    Learn(use);
    if (!Contains(use.block) && size_ == capacity_) Evict(use.time_ms);
    size_ += Contains(use.block) ? 0 : 1;
    queues_.MoveToFront(use.block, category_);
  }

 private:
  struct Known {
    int64_t last_ms = -1;  // of its last use; -1: never used
    BlockQueues::Queue category = 0;
    int8_t turn = -1;  // of the request that brought it; -1: none did
  };

  void Learn(const BlockUse& use) {
    Known& known = known_[use.block];
    if (known.last_ms >= 0) {
      Reuse& before = reuse_[known.category];
      before.reuses += 1;
      before.delays_ms += static_cast<double>(use.time_ms - known.last_ms);
    }
    known.last_ms = use.time_ms;
    known.category = category_;
    Reuse& now = reuse_[category_];
    now.uses += 1;
    if (now.uses < kHalfLife) return;
    now.uses /= 2;
    now.reuses /= 2;
    now.delays_ms /= 2;
  }

  // Of each category the block used longest ago is the least likely one.
  void Evict(int64_t now_ms) {
    const double elapsed = static_cast<double>(std::max<int64_t>(1, now_ms - first_ms_));
    const double stay_ms =
        static_cast<double>(capacity_) * elapsed / static_cast<double>(arrivals_);
    BlockNumber victim = cachestore::kNoBlockNumber;
    double least = 2;
    for (BlockQueues::Queue c = 0; c < kNumCategories; ++c) {
      if (queues_.size(c) == 0) continue;
      const BlockNumber oldest = queues_.Back(c);
      const double chance =
          reuse_[c].Chance(static_cast<double>(now_ms - known_[oldest].last_ms), stay_ms);
      if (chance >= least) continue;
      least = chance;
      victim = oldest;
    }
    queues_.Remove(victim);
    --size_;
  }

  BlockQueues queues_;        // by category of the last use
  std::vector<Known> known_;  // by block
  std::vector<Reuse> reuse_;  // by category
  const int64_t capacity_;
  int64_t size_ = 0;
  int64_t first_ms_ = -1;
  int64_t arrivals_ = 0;             // blocks that came for the first time
  BlockQueues::Queue category_ = 0;  // of the request under way
};

}  // namespace

std::unique_ptr<BlockPolicy> MakeWild(size_t num_blocks, int64_t capacity) {
  return std::make_unique<Wild>(num_blocks, capacity);
}

}  // namespace reprise::bench
