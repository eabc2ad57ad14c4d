#include "engine/sched/sequence.h"

#include <memory>
#include <optional>

#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "tests/engine/sched/scheduler_driver.h"

namespace reprise::engine {
namespace {

constexpr int32_t kBlockTokens = 8;

TEST(SequenceTest, WhoFollowsItsFirstSampleWaitsForNoBlockOfBefore) {
  const std::unique_ptr<cachestore::TieredStore> store = OpenStore(16, kBlockTokens);
  BlockAccount account(store.get());
  GenerateRequest request;
  request.prompt = PromptOf(21, 1);
  request.num_samples = 2;
  Sequence sequence(2, OpenNamespace(store.get(), kBlockTokens), request, absl::Now(), 1);
  sequence.Admit(0, account, LoadChoice{}, nullptr, absl::Now());
  ASSERT_TRUE(sequence.TryFinishLoading(account));
  const cachestore::BlockKey key = sequence.FullBlockKeys().front();
  sequence.Follow(1, key);
  EXPECT_EQ(sequence.followed_key(), key);
  EXPECT_EQ(sequence.MissingTokens(), 21 - 8);
  EXPECT_EQ(sequence.MissingBlocks(), 3 - 1);

  sequence.EndFollowing(account, LoadChoice{}, nullptr, absl::Now());
  ASSERT_TRUE(sequence.TryFinishLoading(account));
  sequence.FollowFirstSample();
  EXPECT_EQ(sequence.followed_key(), std::nullopt);
  EXPECT_EQ(sequence.MissingTokens(), 1);
  EXPECT_EQ(sequence.MissingBlocks(), 1);
}

}  // namespace
}  // namespace reprise::engine
