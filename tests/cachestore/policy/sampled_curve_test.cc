#include "cachestore/policy/sampled_curve.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cachestore/base/hash.h"

namespace reprise::cachestore {
namespace {

constexpr uint64_t kBlockBytes = 4096;
constexpr int64_t kBlockTokens = 16;

BlockKey KeyOf(uint64_t number) {
  const Hash128 hash = HashBytes128(
      absl::MakeConstSpan(reinterpret_cast<const std::byte*>(&number), sizeof(number)));
  return {hash.hi, hash.lo};
}

using Chain = std::vector<uint64_t>;

// Conversations that grow by some blocks a turn behind one of a few beginnings that all share;
// which one comes next is soon one of the last, sometimes any, sometimes a new one.
std::vector<Chain> Conversations(size_t num_requests, uint32_t seed) {
  std::mt19937 random(seed);
  uint64_t next = 1000;
  std::vector<Chain> live;
  std::vector<Chain> requests;
  while (requests.size() < num_requests) {
    const uint32_t draw = random() % 100;
    if (live.empty() || draw < 12) {
      Chain& chain = live.emplace_back();
      const uint64_t beginning = std::min<uint64_t>(random() % 8, random() % 8);
      for (uint64_t i = 0; i < 3 + beginning; ++i) chain.push_back(10 * beginning + i);
    } else if (draw < 80) {
      std::swap(live[live.size() - 1 - random() % std::min<size_t>(live.size(), 60)], live.back());
    } else {
      std::swap(live[random() % live.size()], live.back());
    }
    for (uint32_t i = 0; i < 1 + random() % 6; ++i) live.back().push_back(next++);
    requests.push_back(live.back());
    if (live.back().size() > 40) live.pop_back();
  }
  return requests;
}

// The share of blocks that an LRU cache of `capacity` blocks has when they are looked up: written
// anew, as a list.
double MeasuredHitRatio(const std::vector<Chain>& requests, size_t capacity) {
  std::set<std::pair<uint64_t, uint64_t>> order;  // (last use, block)
  std::unordered_map<uint64_t, uint64_t> used;
  uint64_t clock = 0;
  size_t hits = 0;
  size_t looked_up = 0;
  for (const Chain& chain : requests) {
    looked_up += chain.size();
    for (const uint64_t block : chain) hits += used.contains(block) ? 1 : 0;
    for (auto block = chain.rbegin(); block != chain.rend(); ++block) {
      if (const auto it = used.find(*block); it != used.end()) order.erase({it->second, *block});
      used[*block] = ++clock;
      order.emplace(clock, *block);
    }
    while (order.size() > capacity) {
      used.erase(order.begin()->second);
      order.erase(order.begin());
    }
  }
  return static_cast<double>(hits) / static_cast<double>(looked_up);
}

void Look(const std::vector<Chain>& requests, SampledCurve& curve) {
  std::vector<BlockKey> keys;
  for (const Chain& chain : requests) {
    keys.clear();
    for (const uint64_t block : chain) keys.push_back(KeyOf(block));
    curve.OnLookup({.keys = keys, .block_bytes = kBlockBytes, .block_tokens = kBlockTokens});
  }
}

double Predicted(const SampledCurve& curve, double blocks, uint32_t group = 0) {
  return curve.HitTokens(group, blocks * kBlockBytes) / curve.LookedUpTokens(group);
}

TEST(SampledCurveTest, PredictsWhatReplaysMeasureWithinTwoPoints) {
  const std::vector<Chain> requests = Conversations(25000, /*seed=*/1);
  SampledCurve curve(16384);
  Look(requests, curve);
  EXPECT_LE(curve.sampling_rate(), 1.0 / 32) << "else this shows nothing";
  // Half, once, twice and four times 4,000 blocks.
  for (const size_t capacity : {2000, 4000, 8000, 16000}) {
    EXPECT_NEAR(Predicted(curve, static_cast<double>(capacity)),
                MeasuredHitRatio(requests, capacity), 0.02)
        << capacity << " blocks";
  }
}

// Blocks of conversations in four classes, the best first to last: those of the beginnings that are
// shared, and others by a number that nobody asked for.
uint64_t PlaceOf(uint64_t block) { return (block < 1000 ? 4 : block % 4) << 32 | block; }

// The same of a cache that gives up the block with the least PlaceOf.
double MeasuredHitRatioByPlace(const std::vector<Chain>& requests, size_t capacity) {
  std::set<uint64_t> there;  // places
  size_t hits = 0;
  size_t looked_up = 0;
  for (const Chain& chain : requests) {
    looked_up += chain.size();
    for (const uint64_t block : chain) hits += there.contains(PlaceOf(block)) ? 1 : 0;
    for (const uint64_t block : chain) there.insert(PlaceOf(block));
    while (there.size() > capacity) there.erase(there.begin());
  }
  return static_cast<double>(hits) / static_cast<double>(looked_up);
}

TEST(SampledCurveTest, FollowsAnOrderThatIsNotLru) {
  const std::vector<Chain> requests = Conversations(25000, /*seed=*/1);
  std::unordered_map<uint64_t, uint64_t> places;  // by key
  for (const Chain& chain : requests) {
    for (const uint64_t block : chain) places[KeyOf(block).lo] = PlaceOf(block);
  }
  SampledCurve curve(16384, [&](const BlockKey& key) { return places.at(key.lo); });
  SampledCurve lru(16384);
  for (size_t i = 0; i < requests.size(); i += 5) {
    const std::vector<Chain> some(requests.begin() + static_cast<std::ptrdiff_t>(i),
                                  requests.begin() + static_cast<std::ptrdiff_t>(i + 5));
    Look(some, curve);
    curve.Order();
    Look(some, lru);
    lru.Order();
  }
  EXPECT_EQ(lru.sampling_rate(), curve.sampling_rate());
  for (const size_t capacity : {1000, 2000, 4000, 8000}) {
    const double measured = MeasuredHitRatioByPlace(requests, capacity);
    const auto blocks = static_cast<double>(capacity);
    EXPECT_NEAR(Predicted(curve, blocks), measured, 0.02) << capacity << " blocks";
    EXPECT_GT(std::abs(Predicted(lru, blocks) - measured), 0.05) << "else this shows nothing";
  }
}

TEST(SampledCurveTest, WhatIsOutOfReachIsForgottenAndMoreOfTheRestIsWatched) {
  const std::vector<Chain> requests = Conversations(25000, /*seed=*/1);
  SampledCurve near(512);
  near.Reach(3000 * kBlockBytes);
  SampledCurve all(512);
  Look(requests, near);
  Look(requests, all);
  EXPECT_GE(near.sampling_rate(), 4 * all.sampling_rate());
  for (const size_t capacity : {500, 1000, 3000}) {
    EXPECT_NEAR(Predicted(near, static_cast<double>(capacity)),
                MeasuredHitRatio(requests, capacity), 0.04)
        << capacity << " blocks";
  }
}

TEST(SampledCurveTest, TheRateRisesAgainWhenFewerBlocksAreOfInterest) {
  const std::vector<Chain> requests = Conversations(25000, /*seed=*/1);
  SampledCurve curve(512);
  Look(requests, curve);
  const double before = curve.sampling_rate();
  curve.Reach(1000 * kBlockBytes);
  const std::vector<Chain> more = Conversations(40000, /*seed=*/2);
  Look(more, curve);
  EXPECT_GE(curve.sampling_rate(), 2 * before);
  curve.Age(0);
  const std::vector<Chain> last(more.begin() + 20000, more.end());
  Look(last, curve);
  EXPECT_NEAR(Predicted(curve, 1000), MeasuredHitRatio(last, 1000), 0.05);
}

TEST(SampledCurveTest, TakesNoMoreMemoryThanItIsGiven) {
  SampledCurve curve(256);
  Look(Conversations(10000, 4), curve);
  EXPECT_LT(curve.sampling_rate(), SampledCurve::kFullRate);
  EXPECT_LE(curve.memory_bytes(), 256 * SampledCurve::kSampleBytes + SampledCurve::kGroupBytes);
  // And it is still of use.
  EXPECT_NEAR(Predicted(curve, 4000), MeasuredHitRatio(Conversations(10000, 4), 4000), 0.1);
}

TEST(SampledCurveTest, FirstBlocksThatAllShareAreHitsWhetherTheyAreSampledOrNot) {
  for (uint64_t shared = 0; shared < 16; ++shared) {
    std::vector<Chain> requests;
    for (uint64_t i = 0; i < 4000; ++i) requests.push_back({shared, 1000000 + i});
    SampledCurve curve(16384);
    Look(requests, curve);
    EXPECT_NEAR(Predicted(curve, 100), 0.5, 0.02) << shared;
  }
}

TEST(SampledCurveTest, WhatIsStoredIsThereAndCountsAsNoLookup) {
  SampledCurve curve(16384);
  std::vector<BlockKey> keys;
  for (uint64_t i = 0; i < 4000; ++i) keys.push_back(KeyOf(i));
  const BlockRun run = {.keys = keys, .block_bytes = kBlockBytes, .block_tokens = kBlockTokens};
  curve.OnStore(run);
  EXPECT_EQ(curve.LookedUpTokens(0), 0);
  curve.OnLookup(run);
  EXPECT_EQ(curve.LookedUpTokens(0), 4000.0 * kBlockTokens);
  EXPECT_NEAR(Predicted(curve, 5000), 1, 0.01);
  // Of a cache that is too small for all, the first ones are there.
  EXPECT_NEAR(Predicted(curve, 2000), 0.5, 0.1);
}

TEST(SampledCurveTest, GroupsShareTheCacheAndAreToldApart) {
  SampledCurve curve(16384);
  std::vector<BlockKey> keys;
  for (uint64_t i = 0; i < 4000; ++i) keys.push_back(KeyOf(i));
  curve.OnLookup({keys, kBlockBytes, kBlockTokens, /*group=*/0});
  curve.OnLookup({keys, kBlockBytes, kBlockTokens, /*group=*/2});
  EXPECT_NEAR(Predicted(curve, 5000, 0), 0, 0.01);
  EXPECT_NEAR(Predicted(curve, 5000, 2), 1, 0.01);
  EXPECT_EQ(curve.LookedUpTokens(1), 0);
  EXPECT_EQ(curve.LookedUpTokens(7), 0);
  EXPECT_EQ(curve.HitTokens(7, 1e12), 0);
}

TEST(SampledCurveTest, TheOldCountsLess) {
  SampledCurve curve(16384);
  std::vector<BlockKey> keys;
  for (uint64_t i = 0; i < 4000; ++i) keys.push_back(KeyOf(i));
  const BlockRun run = {.keys = keys, .block_bytes = kBlockBytes, .block_tokens = kBlockTokens};
  curve.OnLookup(run);  // all missed
  curve.Age(1.0 / 3);
  curve.OnLookup(run);  // all hit
  EXPECT_NEAR(Predicted(curve, 5000), 0.75, 0.01);
}

}  // namespace
}  // namespace reprise::cachestore
