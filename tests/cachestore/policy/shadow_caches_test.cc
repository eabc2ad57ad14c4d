#include "cachestore/policy/shadow_caches.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "cachestore/policy/reuse_policy.h"

namespace reprise::cachestore {
namespace {

constexpr int64_t kBlockTokens = 512;

// What is compared on a sample of the blocks is no observation.
TEST(ShadowCachesTest, TheModelLearnsNothingFromWhatTheyHold) {
  const auto model_of = [](uint64_t key_hash) {
    constexpr BlockId kRoom = 100;
    ReusePolicy policy;
    const auto key_of = [&](uint64_t lo) { return BlockKey{.hi = key_hash, .lo = lo}; };
    std::vector<uint64_t> names(kRoom);
    for (uint64_t step = 0; step < 3000; ++step) {
      // Prompts of one block. A third of them come again half a minute later, when they have left
      // the store.
      const bool is_again = step >= 300 && step % 3 == 0;
      const std::vector<BlockKey> keys = {key_of(is_again ? step - 299 : step)};
      policy.OnRequest({.time_ms = static_cast<int64_t>(100 * step),
                        .block_tokens = kBlockTokens,
                        .prompt_tokens = kBlockTokens,
                        .keys = keys,
                        .hints = {.use = RequestHints::Use::kRequest}});
      if (is_again) continue;
      const auto id = static_cast<BlockId>(step % kRoom);
      if (step >= kRoom) policy.OnErase(id, key_of(names[id]));
      names[id] = step;
      policy.OnInsert(id, kNoBlock, keys[0]);
    }
    return policy.SerializeModel();
  };
  // All of the blocks are sampled, and none.
  EXPECT_EQ(model_of(0), model_of(~uint64_t{0}));
}

}  // namespace
}  // namespace reprise::cachestore
