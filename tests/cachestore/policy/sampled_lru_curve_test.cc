#include "cachestore/policy/sampled_lru_curve.h"

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

void Look(const std::vector<Chain>& requests, SampledLruCurve& curve) {
  std::vector<BlockKey> keys;
  for (const Chain& chain : requests) {
    keys.clear();
    for (const uint64_t block : chain) keys.push_back(KeyOf(block));
    curve.OnLookup({.keys = keys, .block_bytes = kBlockBytes, .block_tokens = kBlockTokens});
  }
}

double Predicted(const SampledLruCurve& curve, double blocks, uint32_t group = 0) {
  return curve.HitTokens(group, blocks * kBlockBytes) / curve.LookedUpTokens(group);
}

TEST(SampledLruCurveTest, PredictsWhatReplaysMeasureWithinTwoPoints) {
  const std::vector<Chain> requests = Conversations(25000, /*seed=*/1);
  SampledLruCurve curve(16384);
  Look(requests, curve);
  EXPECT_LE(curve.sampling_rate(), 1.0 / 32) << "else this shows nothing";
  // Half, once, twice and four times 4,000 blocks.
  for (const size_t capacity : {2000, 4000, 8000, 16000}) {
    EXPECT_NEAR(Predicted(curve, static_cast<double>(capacity)),
                MeasuredHitRatio(requests, capacity), 0.02)
        << capacity << " blocks";
  }
}

TEST(SampledLruCurveTest, TakesNoMoreMemoryThanItIsGiven) {
  SampledLruCurve curve(256);
  Look(Conversations(10000, 4), curve);
  EXPECT_LT(curve.sampling_rate(), SampledLruCurve::kFullRate);
  EXPECT_LE(curve.memory_bytes(),
            256 * SampledLruCurve::kSampleBytes + SampledLruCurve::kGroupBytes);
  // And it is still of use.
  EXPECT_NEAR(Predicted(curve, 4000), MeasuredHitRatio(Conversations(10000, 4), 4000), 0.1);
}

TEST(SampledLruCurveTest, FirstBlocksThatAllShareAreHitsWhetherTheyAreSampledOrNot) {
  for (uint64_t shared = 0; shared < 16; ++shared) {
    std::vector<Chain> requests;
    for (uint64_t i = 0; i < 4000; ++i) requests.push_back({shared, 1000000 + i});
    SampledLruCurve curve(16384);
    Look(requests, curve);
    EXPECT_NEAR(Predicted(curve, 100), 0.5, 0.02) << shared;
  }
}

TEST(SampledLruCurveTest, WhatIsStoredIsThereAndCountsAsNoLookup) {
  SampledLruCurve curve(16384);
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

TEST(SampledLruCurveTest, GroupsShareTheCacheAndAreToldApart) {
  SampledLruCurve curve(16384);
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

TEST(SampledLruCurveTest, TheOldCountsLess) {
  SampledLruCurve curve(16384);
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
