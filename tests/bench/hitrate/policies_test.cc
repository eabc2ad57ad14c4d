// Policies: what holds for every one of them, and some against slow implementations, written down
// from their papers by other means.
#include "bench/hitrate/policies.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <list>
#include <map>
#include <vector>

#include "bench/hitrate/baselines/baselines.h"
#include "bench/hitrate/bounds.h"
#include "bench/hitrate/use_runs.h"
#include "tests/bench/hitrate/random_trace.h"

namespace reprise::bench {
namespace {

using cachestore::BlockNumber;
using cachestore::Trace;

constexpr size_t kBlocks = 60;
constexpr int64_t kCapacities[] = {1, 2, 3, 5, 8, 13, 20, 30, 60};

TEST(PoliciesTest, NoneBeatsTheOptimumAndAllKeepWhatFits) {
  for (const ReplayPolicy& policy : ReplayPolicies()) {
    for (uint64_t seed = 0; seed < 5; ++seed) {
      const Trace trace = RandomTrace(seed, 500, kBlocks);
      const UseRuns next_uses = UseRuns::Next(trace);
      for (const int64_t capacity : kCapacities) {
        for (const MakeRoom make_room : {MakeRoom::kAfter, MakeRoom::kBefore}) {
          const auto cache = policy.make(trace, capacity, make_room);
          const Tally tally = Replay(trace, *cache);
          EXPECT_LE(tally.hit_blocks, Optimum(trace, next_uses, capacity).hit_blocks)
              << policy.name << ", seed " << seed << ", capacity " << capacity;
          EXPECT_GT(tally.hit_blocks, 0) << policy.name << ", capacity " << capacity;
        }
      }
      const auto all = policy.make(trace, kBlocks, MakeRoom::kAfter);
      EXPECT_EQ(Replay(trace, *all).hit_blocks, InfiniteCache(trace).hit_blocks) << policy.name;
    }
  }
}

TEST(PoliciesTest, PublishedOnesKeepToTheirCapacityAndToWhatCame) {
  const auto makers = {MakeFifo, MakeLfu,      MakeLru2,   MakeSlru,  MakeTwoQ, MakeArc,
                       MakeGdsf, MakeWTinyLfu, MakeS3Fifo, MakeSieve, MakeWild};
  const Trace trace = RandomTrace(11, 300, kBlocks);
  for (const auto make : makers) {
    for (const int64_t capacity : kCapacities) {
      const std::unique_ptr<BlockPolicy> policy = make(kBlocks, capacity);
      std::vector<bool> came(kBlocks);
      std::vector<BlockNumber> chain;
      for (const cachestore::TraceRequest& request : trace.requests) {
        trace.ChainOf(request, chain);
        policy->BeginRequest(request, chain);
        for (size_t i = chain.size(); i-- > 0;) {
          policy->Use({chain[i], static_cast<uint32_t>(i), request.time_ms});
          came[chain[i]] = true;
        }
        int64_t size = 0;
        for (BlockNumber block = 0; block < kBlocks; ++block) {
          size += policy->Contains(block);
          EXPECT_TRUE(!policy->Contains(block) || came[block]);
        }
        EXPECT_LE(size, capacity);
      }
    }
  }
}

using List = std::list<BlockNumber>;  // the youngest first

bool Has(const List& list, BlockNumber block) {
  return std::find(list.begin(), list.end(), block) != list.end();
}

// LFU and LRU-2: the least block by what is known of all uses of each, found by looking at all.
class SlowByHistory : public BlockPolicy {
 public:
  using History = std::vector<int>;  // times of uses
  // Whether `a` goes before `b`.
  using GoesBefore = bool (*)(const History& a, const History& b);
  SlowByHistory(int64_t capacity, GoesBefore goes_before)
      : capacity_(static_cast<size_t>(capacity)), goes_before_(goes_before) {}

  bool Contains(BlockNumber block) const override { return Has(blocks_, block); }
  void Use(const BlockUse& use) override {
    if (!Contains(use.block)) {
      if (blocks_.size() == capacity_) {
        blocks_.remove(*std::min_element(
            blocks_.begin(), blocks_.end(),
            [this](BlockNumber a, BlockNumber b) { return goes_before_(uses_[a], uses_[b]); }));
      }
      blocks_.push_front(use.block);
    }
    uses_[use.block].push_back(++clock_);
  }

 private:
  const size_t capacity_;
  const GoesBefore goes_before_;
  List blocks_;
  std::map<BlockNumber, History> uses_;
  int clock_ = 0;
};

// ARC, by the cases of its paper's figure 4.
class SlowArc : public BlockPolicy {
 public:
  explicit SlowArc(int64_t capacity) : c_(static_cast<size_t>(capacity)) {}

  bool Contains(BlockNumber x) const override { return Has(t1_, x) || Has(t2_, x); }
  void Use(const BlockUse& use) override {
    const BlockNumber x = use.block;
    if (Contains(x)) {  // case I
      t1_.remove(x);
      t2_.remove(x);
      t2_.push_front(x);
    } else if (Has(b1_, x)) {  // case II
      p_ = std::min(c_, p_ + std::max<size_t>(b2_.size() / b1_.size(), 1));
      Replace(x);
      b1_.remove(x);
      t2_.push_front(x);
    } else if (Has(b2_, x)) {  // case III
      p_ -= std::min(p_, std::max<size_t>(b1_.size() / b2_.size(), 1));
      Replace(x);
      b2_.remove(x);
      t2_.push_front(x);
    } else {  // case IV
      if (t1_.size() + b1_.size() == c_) {
        if (t1_.size() < c_) {
          b1_.pop_back();
          Replace(x);
        } else {
          t1_.pop_back();
        }
      } else if (t1_.size() + t2_.size() + b1_.size() + b2_.size() >= c_) {
        if (t1_.size() + t2_.size() + b1_.size() + b2_.size() == 2 * c_) b2_.pop_back();
        Replace(x);
      }
      t1_.push_front(x);
    }
  }

 private:
  void Replace(BlockNumber x) {
    if (!t1_.empty() && (t1_.size() > p_ || (Has(b2_, x) && t1_.size() == p_))) {
      b1_.push_front(t1_.back());
      t1_.pop_back();
    } else {
      b2_.push_front(t2_.back());
      t2_.pop_back();
    }
  }

  const size_t c_;
  size_t p_ = 0;
  List t1_, t2_, b1_, b2_;
};

// SIEVE, with its hand as a place in a list that is written anew at each eviction.
class SlowSieve : public BlockPolicy {
 public:
  explicit SlowSieve(int64_t capacity) : capacity_(static_cast<size_t>(capacity)) {}

  bool Contains(BlockNumber block) const override {
    return std::find_if(blocks_.begin(), blocks_.end(),
                        [&](const auto& b) { return b.first == block; }) != blocks_.end();
  }
  void Use(const BlockUse& use) override {
    for (auto& [block, visited] : blocks_) {
      if (block != use.block) continue;
      visited = true;
      return;
    }
    if (blocks_.size() == capacity_) {
      while (blocks_[hand_].second) {
        blocks_[hand_].second = false;
        hand_ = (hand_ + 1) % blocks_.size();
      }
      blocks_.erase(blocks_.begin() + static_cast<long>(hand_));
      // Behind the youngest one the hand begins again with the oldest.
      if (hand_ == blocks_.size()) hand_ = 0;
    }
    blocks_.push_back({use.block, false});
  }

 private:
  const size_t capacity_;
  std::vector<std::pair<BlockNumber, bool>>
      blocks_;  // the oldest first; used since the hand passed
  size_t hand_ = 0;
};

void ExpectSameHits(std::unique_ptr<BlockPolicy> (*make)(size_t, int64_t),
                    const std::function<std::unique_ptr<BlockPolicy>(int64_t)>& make_slow) {
  for (uint64_t seed = 0; seed < 8; ++seed) {
    const Trace trace = RandomTrace(seed, 500, kBlocks);
    for (const int64_t capacity : kCapacities) {
      PlainCache cache(make(kBlocks, capacity), capacity);
      PlainCache slow(make_slow(capacity), capacity);
      EXPECT_EQ(Replay(trace, cache).hit_blocks, Replay(trace, slow).hit_blocks)
          << "seed " << seed << ", capacity " << capacity;
    }
  }
}

TEST(PoliciesTest, LfuTakesTheLeastUsed) {
  ExpectSameHits(MakeLfu, [](int64_t capacity) {
    return std::make_unique<SlowByHistory>(
        capacity, [](const SlowByHistory::History& a, const SlowByHistory::History& b) {
          return a.size() != b.size() ? a.size() < b.size() : a.back() < b.back();
        });
  });
}

TEST(PoliciesTest, Lru2TakesTheOldestUseButOne) {
  ExpectSameHits(MakeLru2, [](int64_t capacity) {
    return std::make_unique<SlowByHistory>(
        capacity, [](const SlowByHistory::History& a, const SlowByHistory::History& b) {
          if (a.size() == 1 || b.size() == 1) {
            return a.size() != b.size() ? a.size() == 1 : a[0] < b[0];
          }
          return a[a.size() - 2] < b[b.size() - 2];
        });
  });
}

TEST(PoliciesTest, ArcFollowsThePaper) {
  ExpectSameHits(MakeArc, [](int64_t capacity) { return std::make_unique<SlowArc>(capacity); });
}

TEST(PoliciesTest, SieveFollowsThePaper) {
  ExpectSameHits(MakeSieve, [](int64_t capacity) { return std::make_unique<SlowSieve>(capacity); });
}

}  // namespace
}  // namespace reprise::bench
