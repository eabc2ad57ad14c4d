// The bounds, LRU, and the store's index under LRU, against slow implementations of the same that
// share no idea with them.
#include "bench/hitrate/bounds.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <list>
#include <map>
#include <set>
#include <vector>

#include "bench/hitrate/lru_curve.h"
#include "bench/hitrate/store_cache.h"
#include "bench/hitrate/use_runs.h"
#include "cachestore/policy/lru_policy.h"
#include "tests/bench/hitrate/random_trace.h"

namespace reprise::bench {
namespace {

using cachestore::BlockNumber;
using cachestore::LruPolicy;
using cachestore::Trace;
using cachestore::TraceRequest;
using Chain = std::vector<BlockNumber>;

Chain ChainOf(const Trace& trace, const TraceRequest& request) {
  Chain chain;
  trace.ChainOf(request, chain);
  return chain;
}

// The most that any cache with `capacity` blocks could get out of the trace, by trying every set of
// blocks that it could hold after each request. `worth` of the first hits of a request.
template <typename Worth>
double BestOfAllCaches(const Trace& trace, int capacity, Worth worth) {
  std::map<uint32_t, double> best = {{0, 0}};  // by the set of blocks held
  for (const TraceRequest& request : trace.requests) {
    const Chain chain = ChainOf(trace, request);
    uint32_t wanted = 0;
    for (const BlockNumber block : chain) wanted |= 1u << block;
    std::map<uint32_t, double> next;
    for (const auto& [held, value] : best) {
      size_t hits = 0;
      while (hits < chain.size() && (held >> chain[hits] & 1) != 0) ++hits;
      const uint32_t there = held | wanted;
      // Every subset of what is there.
      for (uint32_t kept = there;; kept = (kept - 1) & there) {
        if (std::popcount(kept) <= capacity) {
          double& known = next[kept];
          known = std::max(known, value + worth(request, hits));
        }
        if (kept == 0) break;
      }
    }
    best = std::move(next);
  }
  double most = 0;
  for (const auto& [held, value] : best) most = std::max(most, value);
  return most;
}

TEST(BoundsTest, NoCacheHasMoreHitsThanTheOptimumAndOneHasAsMany) {
  int64_t all_hits = 0;
  for (uint64_t seed = 0; seed < 30; ++seed) {
    const Trace trace = RandomTrace(seed, 12, 8);
    const UseRuns next_uses = UseRuns::Next(trace);
    for (int capacity = 1; capacity <= 8; capacity += 2) {
      const Tally tally = Optimum(trace, next_uses, capacity);
      const auto hits = [](const TraceRequest&, size_t n) { return static_cast<double>(n); };
      EXPECT_EQ(static_cast<double>(tally.hit_blocks), BestOfAllCaches(trace, capacity, hits))
          << "seed " << seed << ", capacity " << capacity;
      all_hits += tally.hit_blocks;
    }
  }
  EXPECT_GT(all_hits, 500);
}

TEST(BoundsTest, WhatAnswersLeaveBehindIsThereAndIsNoHit) {
  int64_t all_hits = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const Trace trace = RandomTrace(seed, 9, 8, /*answers=*/true);
    const UseRuns next_uses = UseRuns::Next(trace);
    const auto hits = [](const TraceRequest& request, size_t n) {
      return request.is_lookup() ? static_cast<double>(n) : 0;
    };
    for (int capacity = 1; capacity <= 8; capacity += 2) {
      const Tally tally = Optimum(trace, next_uses, capacity);
      EXPECT_EQ(static_cast<double>(tally.hit_blocks), BestOfAllCaches(trace, capacity, hits))
          << "seed " << seed << ", capacity " << capacity;
      all_hits += tally.hit_blocks;
    }
    EXPECT_EQ(InfiniteCache(trace).hit_blocks, Optimum(trace, next_uses, 8).hit_blocks);
  }
  EXPECT_GT(all_hits, 300);
}

TEST(BoundsTest, NoPromptIsServedWithoutItsLastToken) {
  Trace trace;
  trace.block_tokens = 16;
  const BlockNumber full = trace.AddBlock(cachestore::kNoBlockNumber);
  const BlockNumber partial = trace.AddBlock(full);
  for (const TraceRequest& request :
       {TraceRequest{.input_tokens = 16, .last = full}, {.input_tokens = 20, .last = partial}}) {
    trace.requests = {request, request, {.input_tokens = 40, .last = trace.AddBlock(request.last)}};
    const auto own = static_cast<int64_t>(request.input_tokens) - 1;
    const auto of_longer = 16 * static_cast<int64_t>(trace.NumBlocksOf(request));
    EXPECT_EQ(InfiniteCache(trace).hit_tokens, own + of_longer);
    EXPECT_EQ(InfiniteCache(trace).requests, 3);
  }
}

TEST(BoundsTest, NoCacheSavesMoreThanTheCostBound) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Trace trace = RandomTrace(seed, 12, 8);
    trace.block_tokens = 20'000;  // so that depth matters
    for (TraceRequest& request : trace.requests) request.input_tokens *= 20'000 / 16;
    const UseRuns next_uses = UseRuns::Next(trace);
    for (int capacity = 1; capacity <= 8; capacity += 2) {
      double cost = 0;
      for (const TraceRequest& request : trace.requests) cost += PrefillCost(request.input_tokens);
      const double best =
          BestOfAllCaches(trace, capacity, [](const TraceRequest& request, size_t hits) {
            return PrefillCost(std::min(20'000.0 * static_cast<double>(hits),
                                        std::max(0.0, request.input_tokens - 1.0)));
          });
      const double bound = CostBound(trace, next_uses, capacity);
      EXPECT_LE(best / cost, bound + 1e-9) << "seed " << seed << ", capacity " << capacity;
      EXPECT_GE(bound + 1e-9, Optimum(trace, next_uses, capacity).cost_ratio());
    }
  }
}

// `num_blocks` blocks of 1,000 tokens, asked for twice.
Trace ChainTwice(int num_blocks) {
  Trace trace;
  trace.block_tokens = 1000;
  TraceRequest request;
  for (int i = 0; i < num_blocks; ++i) request.last = trace.AddBlock(request.last);
  request.input_tokens = static_cast<uint32_t>(1000 * num_blocks);
  trace.requests = {request, request};
  return trace;
}

TEST(BoundsTest, TheCostBoundIsWhatItsStepsComeTo) {
  const Trace three = ChainTwice(3);
  const double first = PrefillCost(1000);
  const double second = PrefillCost(2000) - first;
  const double third = PrefillCost(3000) - PrefillCost(2000);
  // Two blocks fit: two hits at the first depth or deeper, two at the second, one at the third.
  EXPECT_NEAR(CostBound(three, UseRuns::Next(three), 2),
              (2 * first + 2 * (second - first) + (third - second)) / (2 * PrefillCost(3000)),
              1e-12);
  // With two depths a step no block counts for less than it is worth.
  const Trace many = ChainTwice(2 * kCostLevels);
  EXPECT_NEAR(CostBound(many, UseRuns::Next(many), 2 * kCostLevels),
              InfiniteCache(many).cost_ratio(), 1e-12);
}

TEST(BoundsTest, AnInfiniteCacheKeepsWhatCameOnce) {
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const Trace trace = RandomTrace(seed, 300, 100);
    std::set<BlockNumber> seen;
    int64_t hits = 0;
    for (const TraceRequest& request : trace.requests) {
      for (const BlockNumber block : ChainOf(trace, request)) hits += !seen.insert(block).second;
    }
    const Tally tally = InfiniteCache(trace);
    EXPECT_EQ(tally.hit_blocks, hits);
    const Tally optimum = Optimum(trace, UseRuns::Next(trace), 100);
    EXPECT_EQ(optimum.hit_blocks, hits);
    EXPECT_EQ(optimum.hit_tokens, tally.hit_tokens);
    EXPECT_EQ(optimum.saved_cost, tally.saved_cost);
  }
}

TEST(BoundsTest, AnInfiniteCacheOfTokensHasTheEndOfThePromptBeforeAndItsAnswer) {
  Trace trace;
  trace.block_tokens = 100;
  const BlockNumber a = trace.AddBlock(cachestore::kNoBlockNumber);
  const BlockNumber a_rest = trace.AddBlock(a);
  const BlockNumber b = trace.AddBlock(a);
  const BlockNumber b_rest = trace.AddBlock(b);
  const auto hit_tokens = [&](uint32_t second_input, uint64_t session) {
    trace.requests = {{.input_tokens = 140, .output_tokens = 30, .session = 1, .last = a_rest},
                      {.input_tokens = second_input, .session = session, .last = b_rest}};
    return InfiniteCacheOfTokens(trace).hit_tokens;
  };
  EXPECT_EQ(hit_tokens(250, 1), 170);
  // One that is shorter does not go on, nor does another session.
  EXPECT_EQ(hit_tokens(169, 1), 100);
  EXPECT_EQ(hit_tokens(250, 2), 100);
  // What two go on behind is no turn of a conversation.
  EXPECT_EQ(hit_tokens(250, 1), 170);
  trace.requests.push_back({.input_tokens = 300, .session = 1, .last = trace.AddBlock(a)});
  EXPECT_EQ(InfiniteCacheOfTokens(trace).hit_tokens, 170 + 100);
  EXPECT_EQ(InfiniteCache(trace).hit_blocks, InfiniteCacheOfTokens(trace).hit_blocks);
}

// LRU as one would write it down: the blocks by their last use, those of a request tail first.
class SlowLru : public BlockCache {
 public:
  explicit SlowLru(size_t capacity) : capacity_(capacity) {}

  size_t Serve(const TraceRequest&, absl::Span<const BlockNumber> chain) override {
    size_t hits = 0;
    while (hits < chain.size() && std::count(order_.begin(), order_.end(), chain[hits]) > 0) ++hits;
    for (size_t i = chain.size(); i-- > 0;) {
      order_.remove(chain[i]);
      order_.push_front(chain[i]);
    }
    while (order_.size() > capacity_) order_.pop_back();
    return hits;
  }

 private:
  const size_t capacity_;
  std::list<BlockNumber> order_;  // the last used one first
};

// The same with room made block by block, before each new one, from what the request does not use.
class SlowLruBefore : public BlockCache {
 public:
  explicit SlowLruBefore(size_t capacity) : capacity_(capacity) {}

  size_t Serve(const TraceRequest&, absl::Span<const BlockNumber> chain) override {
    const auto is_there = [this](BlockNumber block) {
      return std::count(order_.begin(), order_.end(), block) > 0;
    };
    size_t hits = 0;
    while (hits < chain.size() && is_there(chain[hits])) ++hits;
    size_t there = hits;
    for (; there < chain.size(); ++there) {
      if (order_.size() == capacity_) {
        const auto used = [&](BlockNumber block) {
          return std::find(chain.begin(), chain.begin() + static_cast<long>(there), block) !=
                 chain.begin() + static_cast<long>(there);
        };
        const auto victim = std::find_if_not(order_.rbegin(), order_.rend(), used);
        if (victim == order_.rend()) break;
        order_.erase(std::next(victim).base());
      }
      order_.push_front(chain[there]);
    }
    for (size_t i = there; i-- > 0;) {
      order_.remove(chain[i]);
      order_.push_front(chain[i]);
    }
    return hits;
  }

 private:
  const size_t capacity_;
  std::list<BlockNumber> order_;
};

template <typename Policy>
std::unique_ptr<cachestore::EvictionPolicy> Make() {
  return std::make_unique<Policy>();
}

TEST(LruTest, CurveAndStoreHaveTheHitsOfLru) {
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const Trace trace = RandomTrace(seed, 400, 60, /*answers=*/seed % 2 == 1);
    const LruCurve curve(trace);
    for (const int64_t capacity : {1, 2, 3, 5, 8, 13, 30, 59, 60}) {
      SlowLru slow(static_cast<size_t>(capacity));
      const Tally expected = Replay(trace, slow);
      EXPECT_EQ(curve.HitsAt(capacity), expected.hit_blocks) << seed << " " << capacity;
      StoreCache store(Make<LruPolicy>, trace, capacity, MakeRoom::kAfter);
      const Tally tally = Replay(trace, store);
      EXPECT_EQ(tally.hit_blocks, expected.hit_blocks) << seed << " " << capacity;
      EXPECT_EQ(tally.hit_tokens, expected.hit_tokens);
      EXPECT_LE(store.size(), capacity);
      const auto least = curve.CapacityFor(expected.hit_blocks);
      ASSERT_TRUE(least.has_value());
      EXPECT_LE(*least, capacity);
      EXPECT_EQ(curve.HitsAt(*least), expected.hit_blocks);
      EXPECT_TRUE(*least == 0 || curve.HitsAt(*least - 1) < expected.hit_blocks);
    }
    EXPECT_EQ(curve.HitsAt(1000), InfiniteCache(trace).hit_blocks);
    EXPECT_FALSE(curve.CapacityFor(curve.HitsAt(1000) + 1).has_value());
  }
}

TEST(LruTest, StoreMakesRoomBeforeBlocksComeWithoutTakingTheirOwn) {
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const Trace trace = RandomTrace(seed, 400, 60);
    for (const int64_t capacity : {1, 2, 3, 5, 8, 13, 30, 60}) {
      SlowLruBefore slow(static_cast<size_t>(capacity));
      StoreCache store(Make<LruPolicy>, trace, capacity, MakeRoom::kBefore);
      EXPECT_EQ(Replay(trace, store).hit_blocks, Replay(trace, slow).hit_blocks)
          << seed << " " << capacity;
      EXPECT_LE(store.size(), capacity);
    }
  }
}

// Gives up the leaf that was used last.
class Newest : public LruPolicy {
 public:
  cachestore::BlockId Best(cachestore::CandidateSet set) const override {
    cachestore::BlockId newest = cachestore::kNoBlock;
    ProposeVictims(set, [&newest](cachestore::BlockId id) {
      newest = id;
      return true;
    });
    return newest;
  }
};

TEST(StoreCacheTest, ARequestsOwnBlocksMayGoOnlyWhenRoomIsMadeAfterwards) {
  Trace trace;
  trace.block_tokens = 16;
  TraceRequest a, b;
  a.last = trace.AddBlock(cachestore::kNoBlockNumber);
  b.last = trace.AddBlock(cachestore::kNoBlockNumber);
  a.input_tokens = b.input_tokens = 16;
  for (const TraceRequest& request : {a, b, b, a}) trace.requests.push_back(request);
  const auto hits = [&trace](MakeRoom make_room) {
    StoreCache store(Make<Newest>, trace, 1, make_room);
    std::vector<size_t> found;
    for (const TraceRequest& request : trace.requests) {
      found.push_back(store.Serve(request, {&request.last, 1}));
    }
    return found;
  };
  EXPECT_EQ(hits(MakeRoom::kAfter), (std::vector<size_t>{0, 0, 0, 1}));
  EXPECT_EQ(hits(MakeRoom::kBefore), (std::vector<size_t>{0, 0, 1, 0}));
}

}  // namespace
}  // namespace reprise::bench
