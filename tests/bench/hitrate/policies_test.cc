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

// The queues below are vectors, the oldest first.
using Queue = std::vector<BlockNumber>;

bool Has(const Queue& queue, BlockNumber block) {
  return std::find(queue.begin(), queue.end(), block) != queue.end();
}

void Take(Queue& queue, BlockNumber block) {
  queue.erase(std::remove(queue.begin(), queue.end(), block), queue.end());
}

BlockNumber TakeOldest(Queue& queue) {
  const BlockNumber oldest = queue.front();
  queue.erase(queue.begin());
  return oldest;
}

class SlowFifo : public BlockPolicy {
 public:
  explicit SlowFifo(int64_t capacity) : capacity_(static_cast<size_t>(capacity)) {}

  bool Contains(BlockNumber x) const override { return Has(blocks_, x); }
  void Use(const BlockUse& use) override {
    if (Contains(use.block)) return;
    blocks_.push_back(use.block);
    if (blocks_.size() > capacity_) TakeOldest(blocks_);
  }

 private:
  const size_t capacity_;
  Queue blocks_;
};

// SLRU: a hit goes to the protected segment's young end, what does not fit there to that of the
// probationary one, and what does not fit there is gone.
class SlowSlru : public BlockPolicy {
 public:
  explicit SlowSlru(int64_t capacity)
      : capacity_(static_cast<size_t>(capacity)), most_protected_(capacity_ * 8 / 10) {}

  bool Contains(BlockNumber x) const override { return Has(probation_, x) || Has(protected_, x); }
  void Use(const BlockUse& use) override {
    const bool is_hit = Contains(use.block);
    Take(probation_, use.block);
    Take(protected_, use.block);
    (is_hit ? protected_ : probation_).push_back(use.block);
    if (protected_.size() > most_protected_) probation_.push_back(TakeOldest(protected_));
    if (probation_.size() + protected_.size() > capacity_) TakeOldest(probation_);
  }

 private:
  const size_t capacity_;
  const size_t most_protected_;
  Queue probation_, protected_;
};

// 2Q, by its paper's full version: A1in, A1out and Am, with Kin a quarter and Kout a half.
class SlowTwoQ : public BlockPolicy {
 public:
  explicit SlowTwoQ(int64_t capacity)
      : slots_(static_cast<size_t>(capacity)),
        kin_(std::max<size_t>(1, slots_ / 4)),
        kout_(std::max<size_t>(1, slots_ / 2)) {}

  bool Contains(BlockNumber x) const override { return Has(a1in_, x) || Has(am_, x); }
  void Use(const BlockUse& use) override {
    const BlockNumber x = use.block;
    if (Has(am_, x)) {
      Take(am_, x);
      am_.push_back(x);
    } else if (Has(a1out_, x)) {
      ReclaimFor();
      Take(a1out_, x);
      am_.push_back(x);
    } else if (!Has(a1in_, x)) {
      ReclaimFor();
      a1in_.push_back(x);
    }
  }

 private:
  void ReclaimFor() {
    if (a1in_.size() + am_.size() < slots_) return;
    // With one slot nothing is in Am, and A1in is not longer than Kin.
    if (a1in_.size() > kin_ || am_.empty()) {
      a1out_.push_back(TakeOldest(a1in_));
      if (a1out_.size() > kout_) TakeOldest(a1out_);
    } else {
      TakeOldest(am_);
    }
  }

  const size_t slots_;
  const size_t kin_;
  const size_t kout_;
  Queue a1in_, a1out_, am_;
};

// GDSF with all costs and sizes 1: the priority of a block is the clock when it was used last, and
// its uses since it came; the clock is the priority of the last one that went.
class SlowGdsf : public BlockPolicy {
 public:
  explicit SlowGdsf(int64_t capacity) : capacity_(static_cast<size_t>(capacity)) {}

  bool Contains(BlockNumber x) const override {
    return std::any_of(files_.begin(), files_.end(), [x](const File& f) { return f.block == x; });
  }
  void Use(const BlockUse& use) override {
    File file = {.block = use.block};
    if (Contains(use.block)) {
      const auto at = std::find_if(files_.begin(), files_.end(),
                                   [&](const File& f) { return f.block == use.block; });
      file = *at;
      files_.erase(at);
    } else if (files_.size() == capacity_) {
      // Of equal ones that which was used the longest ago: it stands before the others.
      const auto least =
          std::min_element(files_.begin(), files_.end(),
                           [](const File& a, const File& b) { return a.priority < b.priority; });
      clock_ = least->priority;
      files_.erase(least);
    }
    file.priority = clock_ + ++file.frequency;
    files_.push_back(file);
  }

 private:
  struct File {
    BlockNumber block = 0;
    int frequency = 0;
    int priority = 0;
  };
  const size_t capacity_;
  std::vector<File> files_;  // the last used last
  int clock_ = 0;
};

// S3-FIFO, by its paper's algorithm 1; a tenth of the capacity is rounded down.
class SlowS3Fifo : public BlockPolicy {
 public:
  explicit SlowS3Fifo(int64_t capacity)
      : capacity_(static_cast<size_t>(capacity)), tenth_(std::max<size_t>(1, capacity_ / 10)) {}

  bool Contains(BlockNumber x) const override { return Has(s_, x) || Has(m_, x); }
  void Use(const BlockUse& use) override {
    const BlockNumber x = use.block;
    if (Contains(x)) {
      freq_[x] = std::min(freq_[x] + 1, 3);
      return;
    }
    while (s_.size() + m_.size() >= capacity_) {
      if (s_.size() >= tenth_) {
        EvictS();
      } else {
        EvictM();
      }
    }
    const bool was_here = Has(g_, x);
    Take(g_, x);
    (was_here ? m_ : s_).push_back(x);
    freq_[x] = 0;
  }

 private:
  size_t most_in_m() const { return std::max<size_t>(1, capacity_ - tenth_); }
  void EvictS() {
    for (bool evicted = false; !evicted && !s_.empty();) {
      const BlockNumber t = TakeOldest(s_);
      if (freq_[t] > 1) {
        freq_[t] = 0;
        m_.push_back(t);
        if (m_.size() > most_in_m()) EvictM();
      } else {
        g_.push_back(t);
        if (g_.size() > most_in_m()) TakeOldest(g_);
        evicted = true;
      }
    }
  }
  void EvictM() {
    while (!m_.empty()) {
      const BlockNumber t = TakeOldest(m_);
      if (freq_[t] == 0) return;
      --freq_[t];
      m_.push_back(t);
    }
  }

  const size_t capacity_;
  const size_t tenth_;
  Queue s_, m_, g_;
  std::map<BlockNumber, int> freq_;
};

// Request by request.
void ExpectSameHits(std::unique_ptr<BlockPolicy> (*make)(size_t, int64_t),
                    const std::function<std::unique_ptr<BlockPolicy>(int64_t)>& make_slow) {
  std::vector<BlockNumber> chain;
  for (uint64_t seed = 0; seed < 8; ++seed) {
    const Trace trace = RandomTrace(seed, 500, kBlocks);
    for (const int64_t capacity : kCapacities) {
      PlainCache cache(make(kBlocks, capacity), capacity);
      PlainCache slow(make_slow(capacity), capacity);
      for (size_t i = 0; i < trace.requests.size(); ++i) {
        trace.ChainOf(trace.requests[i], chain);
        ASSERT_EQ(cache.Serve(trace.requests[i], chain), slow.Serve(trace.requests[i], chain))
            << "seed " << seed << ", capacity " << capacity << ", request " << i;
      }
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

TEST(PoliciesTest, FifoTakesWhatCameFirst) {
  ExpectSameHits(MakeFifo, [](int64_t capacity) { return std::make_unique<SlowFifo>(capacity); });
}

TEST(PoliciesTest, SlruFollowsThePaper) {
  ExpectSameHits(MakeSlru, [](int64_t capacity) { return std::make_unique<SlowSlru>(capacity); });
}

TEST(PoliciesTest, TwoQFollowsThePaper) {
  ExpectSameHits(MakeTwoQ, [](int64_t capacity) { return std::make_unique<SlowTwoQ>(capacity); });
}

TEST(PoliciesTest, GdsfFollowsThePaper) {
  ExpectSameHits(MakeGdsf, [](int64_t capacity) { return std::make_unique<SlowGdsf>(capacity); });
}

TEST(PoliciesTest, S3FifoFollowsThePaper) {
  ExpectSameHits(MakeS3Fifo,
                 [](int64_t capacity) { return std::make_unique<SlowS3Fifo>(capacity); });
}

}  // namespace
}  // namespace reprise::bench
