// Tiers: what they come to where it is known by other means.
#include "bench/hitrate/tier_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

#include "bench/hitrate/bounds.h"
#include "bench/hitrate/lru_curve.h"
#include "bench/hitrate/policies.h"
#include "bench/hitrate/store_cache.h"
#include "bench/hitrate/tier_sweep.h"
#include "cachestore/policy/lru_policy.h"
#include "tests/bench/hitrate/random_trace.h"

namespace reprise::bench {
namespace {

using cachestore::AdmissionRequest;
using cachestore::BlockNumber;
using cachestore::LruPolicy;
using cachestore::Trace;

constexpr size_t kBlocks = 60;

class AdmitNone : public cachestore::AdmissionPolicy {
 public:
  bool Admit(const AdmissionRequest&) const override { return false; }
};

// What was found before goes to disk, and what is below it does not.
class AdmitReused : public cachestore::AdmissionPolicy {
 public:
  bool Admit(const AdmissionRequest& request) const override { return request.reused; }
};

std::unique_ptr<cachestore::EvictionPolicy> MakeLru() {
  return std::make_unique<LruPolicy>();
}

template <typename Admission>
TierCache Tiers(const Trace& trace, const TierCapacities& capacities) {
  return TierCache(MakeLru, trace, std::make_unique<Admission>(), capacities);
}

int64_t AllHits(const TierTally& tally) {
  return tally.gpu_hits + tally.ram_hits + tally.disk_hits;
}

TEST(TierCacheTest, ALargeDiskKeepsAllAndRamIsAnLru) {
  for (uint64_t seed = 0; seed < 8; ++seed) {
    const Trace trace = RandomTrace(seed, 400, kBlocks);
    const LruCurve lru(trace);
    for (const int64_t ram : {1, 2, 5, 13, 40}) {
      TierCache cache = Tiers<cachestore::AdmitAll>(trace, {.ram = ram, .disk = kBlocks});
      const Tally tally = Replay(trace, cache);
      EXPECT_EQ(tally.hit_blocks, InfiniteCache(trace).hit_blocks);
      EXPECT_EQ(cache.tally().ram_hits, lru.HitsAt(ram)) << "seed " << seed << ", RAM " << ram;
      EXPECT_EQ(AllHits(cache.tally()), tally.hit_blocks);
      // Nothing leaves the disk: each block is written once, when RAM gives it up.
      EXPECT_EQ(cache.tally().disk_writes, cache.disk_size());
      EXPECT_GE(cache.disk_size() + ram, static_cast<int64_t>(trace.num_blocks()));
    }
  }
}

TEST(TierCacheTest, WithoutADiskAndWithNothingAdmittedRamIsAlone) {
  for (uint64_t seed = 0; seed < 8; ++seed) {
    const Trace trace = RandomTrace(seed, 400, kBlocks);
    for (const int64_t ram : {1, 2, 5, 13, 40}) {
      TierCache alone = Tiers<cachestore::AdmitAll>(trace, {.ram = ram});
      TierCache nothing = Tiers<AdmitNone>(trace, {.ram = ram, .disk = kBlocks});
      StoreCache store(MakeLru, trace, ram, MakeRoom::kAfter);
      const int64_t hits = Replay(trace, store).hit_blocks;
      EXPECT_EQ(Replay(trace, alone).hit_blocks, hits);
      EXPECT_EQ(Replay(trace, nothing).hit_blocks, hits);
      EXPECT_EQ(nothing.tally().disk_writes, 0);
      EXPECT_EQ(alone.tally().ram_hits, hits);
    }
  }
}

TEST(TierCacheTest, TheGpuIsAnLruAndRamAddsWhatItGaveUp) {
  for (uint64_t seed = 0; seed < 8; ++seed) {
    const Trace trace = RandomTrace(seed, 400, kBlocks);
    const LruCurve lru(trace);
    for (const int64_t gpu : {1, 3, 8}) {
      for (const int64_t ram : {1, 5, 20}) {
        TierCache cache = Tiers<cachestore::AdmitAll>(trace, {.gpu = gpu, .ram = ram});
        const Tally tally = Replay(trace, cache);
        EXPECT_EQ(cache.tally().gpu_hits, lru.HitsAt(gpu));
        EXPECT_GE(tally.hit_blocks, lru.HitsAt(std::max(gpu, ram)));
        EXPECT_LE(tally.hit_blocks, lru.HitsAt(gpu + ram));
      }
    }
  }
}

// In tight tiers of any kind: within their sizes, and the same hits whatever way they are counted.
// PrefixIndex checks that no block leaves before those that need it.
TEST(TierCacheTest, EveryPolicyKeepsTheTiersWithinTheirSizes) {
  for (const ReplayPolicy& policy : ReplayPolicies()) {
    if (policy.make_eviction == nullptr) continue;
    for (uint64_t seed = 0; seed < 8; ++seed) {
      const Trace trace = RandomTrace(seed, 400, kBlocks);
      const int64_t most = InfiniteCache(trace).hit_blocks;
      for (const TierCapacities& capacities :
           {TierCapacities{0, 1, 1}, TierCapacities{0, 3, 8}, TierCapacities{2, 2, 2},
            TierCapacities{8, 3, 0}, TierCapacities{1, 9, 20}, TierCapacities{9, 1, 30}}) {
        TierCache all(policy.make_eviction, trace, std::make_unique<cachestore::AdmitAll>(),
                      capacities);
        TierCache reused(policy.make_eviction, trace, std::make_unique<AdmitReused>(), capacities);
        for (TierCache* const cache : {&all, &reused}) {
          std::vector<BlockNumber> chain;
          int64_t hits = 0;
          for (const cachestore::TraceRequest& request : trace.requests) {
            trace.ChainOf(request, chain);
            hits += static_cast<int64_t>(cache->Serve(request, chain));
            EXPECT_LE(cache->gpu_size(), capacities.gpu);
            EXPECT_LE(cache->ram_size(), capacities.ram);
            EXPECT_LE(cache->disk_size(), capacities.disk);
          }
          EXPECT_EQ(AllHits(cache->tally()), hits);
          EXPECT_LE(hits, most);
        }
        EXPECT_LE(reused.tally().disk_writes, all.tally().disk_writes);
        EXPECT_EQ(all.tally().disk_writes > 0, capacities.disk > 0);
      }
    }
  }
}

TEST(TierCacheTest, AnAdmittedTailTakesItsAncestorsToDisk) {
  Trace trace;
  trace.block_tokens = 16;
  cachestore::TraceRequest request = {.input_tokens = 48};
  for (int i = 0; i < 3; ++i) request.last = trace.AddBlock(request.last);
  cachestore::TraceRequest other = {.input_tokens = 16};
  other.last = trace.AddBlock(cachestore::kNoBlockNumber);
  trace.requests = {request, other};
  // The chain's tail goes for the other block, and takes the two before it along.
  TierCache cache = Tiers<cachestore::AdmitAll>(trace, {.ram = 3, .disk = 10});
  Replay(trace, cache);
  EXPECT_EQ(cache.tally().disk_writes, 3);
  EXPECT_EQ(cache.ram_size(), 3);
  // On a disk for two there is no room for it: it is dropped, its ancestors stay.
  TierCache small = Tiers<cachestore::AdmitAll>(trace, {.ram = 3, .disk = 2});
  Replay(trace, small);
  EXPECT_EQ(small.tally().disk_writes, 2);
  EXPECT_EQ(small.disk_size(), 2);
  std::vector<BlockNumber> chain;
  trace.ChainOf(request, chain);
  EXPECT_EQ(small.Serve(request, chain), 2u);
}

// Requests written down by hand: chains of two blocks and single ones.
class Script {
 public:
  Script() { trace_.block_tokens = 16; }
  // A new block below `parent`.
  BlockNumber Block(BlockNumber parent = cachestore::kNoBlockNumber) {
    return trace_.AddBlock(parent);
  }
  const Trace& trace() const { return trace_; }
  // Asks for the chain that ends with `last`; returns the hits.
  size_t Ask(TierCache& cache, BlockNumber last) {
    cachestore::TraceRequest request = {.input_tokens = 1, .last = last};
    std::vector<BlockNumber> chain;
    trace_.ChainOf(request, chain);
    return cache.Serve(request, chain);
  }

 private:
  Trace trace_;
};

TEST(TierCacheTest, ADiskGivesUpWhatWasUsedLongestAgoTailFirst) {
  Script script;
  const BlockNumber p = script.Block(), c = script.Block(p);
  const BlockNumber u = script.Block(), v = script.Block(), w = script.Block();
  TierCache cache = Tiers<cachestore::AdmitAll>(script.trace(), {.ram = 1, .disk = 3});
  for (const BlockNumber block : {c, u, v}) script.Ask(cache, block);
  EXPECT_EQ(cache.tally().disk_writes, 3);  // p, c, u
  script.Ask(cache, w);                     // v comes for c
  EXPECT_EQ(script.Ask(cache, u), 1u);      // w comes for p
  EXPECT_EQ(cache.tally().disk_hits, 1);
  EXPECT_EQ(cache.tally().disk_writes, 5);
  EXPECT_EQ(script.Ask(cache, v), 1u);
  EXPECT_EQ(script.Ask(cache, w), 1u);
  EXPECT_EQ(script.Ask(cache, p), 0u);
}

TEST(TierCacheTest, RamLeavesToTheGpuWhatItHasToo) {
  Script script;
  const BlockNumber p = script.Block(), c = script.Block(p);
  const BlockNumber u = script.Block(), v = script.Block(), w = script.Block();
  TierCache cache = Tiers<cachestore::AdmitAll>(script.trace(), {.gpu = 3, .ram = 1});
  for (const BlockNumber block : {c, u, v, w}) script.Ask(cache, block);
  // The GPU has u, v and w, RAM has p. With a new block below it p is in both and may not be
  // dropped, and RAM takes u and then v in its place.
  EXPECT_EQ(script.Ask(cache, script.Block(p)), 1u);
  EXPECT_EQ(cache.tally().ram_hits, 1);
  EXPECT_EQ(script.Ask(cache, v), 1u);
  EXPECT_EQ(cache.tally().ram_hits, 2);
}

// Admits all, and writes down what it was asked.
class Asked : public cachestore::AdmissionPolicy {
 public:
  explicit Asked(std::vector<AdmissionRequest>& asked) : asked_(asked) {}
  bool Admit(const AdmissionRequest& request) const override {
    asked_.push_back(request);
    return true;
  }

 private:
  std::vector<AdmissionRequest>& asked_;
};

TEST(TierCacheTest, AdmissionIsAskedOnceForABlockAndToldWhatIsKnown) {
  Script script;
  const BlockNumber a = script.Block(), b = script.Block(), c = script.Block();
  std::vector<AdmissionRequest> asked;
  TierCache cache(MakeLru, script.trace(), std::make_unique<Asked>(asked), {.ram = 1, .disk = 2});
  for (const BlockNumber block : {a, a, b}) script.Ask(cache, block);
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_TRUE(asked[0].reused);
  EXPECT_FALSE(asked[0].disk_is_full);
  // b goes to disk for a, which is there already when it goes for c.
  for (const BlockNumber block : {a, c}) script.Ask(cache, block);
  ASSERT_EQ(asked.size(), 2u);
  EXPECT_FALSE(asked[1].reused);
  script.Ask(cache, a);
  ASSERT_EQ(asked.size(), 3u);
  EXPECT_TRUE(asked[2].disk_is_full);
  EXPECT_FALSE(asked[2].goes_before_victim);
}

TEST(TierSweepTest, EachAdmissionPolicyIsReplayed) {
  const Trace trace = RandomTrace(1, 400, kBlocks);
  const auto sweep = [&](const TierPercents& percents) {
    return RunTierSweep(trace, ReplayPolicies(), percents, [](const std::string&) {});
  };
  const TierSweep tiers = sweep({.gpu = 5, .ram = 10, .disk = 20});
  EXPECT_EQ(tiers.capacities.gpu, 3);
  EXPECT_EQ(tiers.capacities.ram, 6);
  EXPECT_EQ(tiers.capacities.disk, 12);
  std::set<std::string> seen;
  for (const TierSweep::Line& line : tiers.lines) seen.insert(line.policy + " " + line.admission);
  EXPECT_EQ(seen.size(), tiers.lines.size());
  EXPECT_TRUE(seen.contains("lru all"));
  EXPECT_TRUE(seen.contains("lru useful"));
  EXPECT_EQ(tiers.lines[0].admission, kAdmitEverything);
  // Without a disk there is nothing to admit.
  EXPECT_EQ(sweep({.ram = 10, .disk = 0}).lines.size() * AdmissionChoices().size(),
            tiers.lines.size());
}

}  // namespace
}  // namespace reprise::bench
