// What is worth a write to disk, as the eviction policy expects it to be used again.
#include "cachestore/policy/admission_policy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <vector>

#include "cachestore/policy/reuse_policy.h"

namespace reprise::cachestore {
namespace {

constexpr int64_t kBlockTokens = 512;

// A policy that is told of requests, whose blocks all stay.
class AdmissionTest : public ::testing::Test {
 protected:
  void Serve(double at, const std::vector<uint64_t>& chain, RequestHints hints = {}) {
    now_ms_ = std::llround(at * 1000);
    hints.use = RequestHints::Use::kRequest;
    Tell(chain, hints);
    BlockId parent = kNoBlock;
    for (const uint64_t name : chain) {
      const auto [it, is_new] = ids_.try_emplace(name, static_cast<BlockId>(ids_.size()));
      if (is_new) policy_.OnInsert(it->second, parent, KeyOf(name));
      policy_.OnUse(it->second, parent);
      parent = it->second;
    }
    policy_.OnRequestEnd({.block_tokens = kBlockTokens, .keys = keys_, .last = parent, .end = {}});
  }
  void Tell(const std::vector<uint64_t>& chain, const RequestHints& hints) {
    keys_.clear();
    std::vector<BlockId> matched;
    for (const uint64_t name : chain) {
      keys_.push_back(KeyOf(name));
      if (matched.size() + 1 == keys_.size() && ids_.contains(name)) matched.push_back(ids_[name]);
    }
    policy_.OnRequest({.time_ms = now_ms_,
                       .block_tokens = kBlockTokens,
                       .prompt_tokens = static_cast<int64_t>(chain.size()) * kBlockTokens,
                       .keys = keys_,
                       .matched = matched,
                       .hints = hints});
  }
  double Probability(uint64_t name) const { return policy_.ReuseProbability(ids_.at(name)); }
  bool Admits(uint64_t name) const {
    return AdmitLikely().Admit({.reuse_probability = [&] { return Probability(name); }});
  }

  // Prompts of four blocks, one a second, that nobody asks for again. Returns the first block of
  // the last one.
  uint64_t ServeOneShots(int count) {
    for (int i = 0; i < count; ++i, first_ += 10) {
      Serve(first_ * 0.1, {first_, first_ + 1, first_ + 2, first_ + 3});
    }
    return first_ - 10;
  }

  static BlockKey KeyOf(uint64_t name) {
    return {.hi = name, .lo = (name + 1) * 0x9e3779b97f4a7c15};
  }

  int64_t now_ms_ = 0;
  ReusePolicy policy_;
  std::map<uint64_t, BlockId> ids_;
  std::vector<BlockKey> keys_;
  uint64_t first_ = 1000;
};

TEST_F(AdmissionTest, BeforeAnythingIsLearnedWhatIsNewIsAdmitted) {
  Serve(1, {1, 2, 3});
  EXPECT_TRUE(Admits(3));
}

TEST_F(AdmissionTest, WhatAConversationHasLeftBehindIsNotAdmittedAndWhatItGoesOnFromIs) {
  // A conversation begins each second, and goes on a minute later, but not from its last block.
  const auto serve_until = [&](uint64_t end) {
    for (uint64_t first = 0; first < end; first += 10) {
      Serve(0.1 * first, {first, first + 1, first + 2, first + 3});
      if (first < 600) continue;
      const uint64_t before = first - 600;
      Serve(0.1 * first, {before, before + 1, before + 2, before + 4, before + 5});
    }
  };
  serve_until(6000);
  for (const uint64_t first : {5000, 5300}) {
    EXPECT_FALSE(Admits(first + 3)) << first;
    for (const uint64_t i : {0, 1, 2}) EXPECT_TRUE(Admits(first + 600 + i)) << first << " " << i;
  }
}

TEST_F(AdmissionTest, WhereNobodyAsksTwiceNothingIsAdmitted) {
  EXPECT_FALSE(Admits(ServeOneShots(2000)));
}

TEST_F(AdmissionTest, WhereAllAskTwiceAllIsAdmitted) {
  for (uint64_t i = 0; i < 2000; ++i) {
    const uint64_t first = 10 * i;
    if (i >= 60) Serve(static_cast<double>(i), {first - 600, first - 599, first - 598});
    Serve(static_cast<double>(i), {first, first + 1, first + 2});
  }
  EXPECT_TRUE(Admits(10 * 1999));
}

TEST_F(AdmissionTest, WhatTheCallerSaysGoesBeforeWhatIsLearned) {
  const uint64_t last = ServeOneShots(2000);
  Serve(first_ * 0.1, {1, 2}, {.reuse_probability = 0.9});
  EXPECT_TRUE(Admits(2));
  Serve(first_ * 0.1, {3, 4}, {.reuse_probability = 0.01});
  EXPECT_FALSE(Admits(4));
  Tell({last, last + 1}, {.use = RequestHints::Use::kAhead, .request = 7});
  EXPECT_EQ(Probability(last + 1), 1) << "a waiting request will use it";
  EXPECT_FALSE(Admits(last + 2));
}

}  // namespace
}  // namespace reprise::cachestore
