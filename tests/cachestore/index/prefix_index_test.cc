#include "cachestore/index/prefix_index.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace reprise::cachestore {
namespace {

constexpr int32_t kTokens = 2;

class PrefixIndexTest : public ::testing::Test {
 protected:
  PrefixIndexTest() { root_ = index_.root_node(index_.AddNamespace({1, 1}, kTokens)); }

  // A chain of `count` blocks in RAM below `parent`; keys are made up from `first_key`.
  std::vector<BlockId> Chain(BlockId parent, uint64_t first_key, int count) {
    std::vector<BlockId> ids;
    for (int i = 0; i < count; ++i) {
      const uint64_t k = first_key + i;
      ids.push_back(index_.Insert(parent, {k, k * 77}, Tokens(k)));
      index_.AttachRam(ids.back(), next_slot_++);
      parent = ids.back();
    }
    return ids;
  }
  static std::vector<TokenId> Tokens(uint64_t key) {
    return {static_cast<TokenId>(key), static_cast<TokenId>(key + 1)};
  }

  size_t Match(const std::vector<uint64_t>& keys, const std::vector<TokenId>& tokens) {
    std::vector<BlockKey> block_keys;
    for (const uint64_t k : keys) block_keys.push_back({k, k * 77});
    ids_.resize(keys.size());
    return index_.Match(root_, block_keys, tokens, absl::MakeSpan(ids_), end_);
  }

  PrefixIndex index_;
  BlockId root_ = kNoBlock;
  uint32_t next_slot_ = 0;
  std::vector<BlockId> ids_;
  MatchEnd end_ = MatchEnd::kAllMatched;
};

TEST_F(PrefixIndexTest, ADeepBlockKnowsItsDepthItself) {
  constexpr int kDeep = 70'000;
  const std::vector<BlockId> chain = Chain(root_, 10, kDeep);
  EXPECT_EQ(index_.node(chain.back()).depth, uint32_t{kDeep - 1});
  EXPECT_EQ(index_.DepthOf(chain.back()), kDeep - 1);
}

TEST_F(PrefixIndexTest, AChainMatchesToItsEnd) {
  const std::vector<BlockId> chain = Chain(root_, 10, 3);
  EXPECT_EQ(Match({10, 11, 12}, {10, 11, 11, 12, 12, 13}), 3u);
  EXPECT_EQ(end_, MatchEnd::kAllMatched);
  EXPECT_EQ(ids_, chain);
  EXPECT_EQ(Match({10, 11, 99}, {10, 11, 11, 12, 99, 100}), 2u);
  EXPECT_EQ(end_, MatchEnd::kAbsent);
}

TEST_F(PrefixIndexTest, AForgedKeyWithOtherTokensIsACollisionAndNoMatch) {
  Chain(root_, 10, 3);
  // The keys are those of the cached blocks; the token ids are not.
  EXPECT_EQ(Match({10, 11, 12}, {10, 11, 11, 999, 12, 13}), 1u);
  EXPECT_EQ(end_, MatchEnd::kCollision);
}

TEST_F(PrefixIndexTest, AForgedKeyBelowAnotherParentIsACollisionAndNoMatch) {
  Chain(root_, 10, 2);
  Chain(root_, 20, 1);
  // Block 11 with its own tokens, but asked for after block 20.
  EXPECT_EQ(Match({20, 11}, {20, 21, 11, 12}), 1u);
  EXPECT_EQ(end_, MatchEnd::kCollision);
  EXPECT_EQ(Match({10, 11}, {10, 11, 11, 12}), 2u) << "and after its own parent it matches";
}

TEST_F(PrefixIndexTest, VerificationReachesBlocksInEveryWindowOfALongMatch) {
  Chain(root_, 1000, 40);
  std::vector<uint64_t> keys;
  std::vector<TokenId> tokens;
  for (uint64_t k = 1000; k < 1040; ++k) {
    keys.push_back(k);
    tokens.insert(tokens.end(), {static_cast<TokenId>(k), static_cast<TokenId>(k + 1)});
  }
  EXPECT_EQ(Match(keys, tokens), 40u);
  for (const size_t bad : {0u, 15u, 16u, 17u, 31u, 32u, 39u}) {
    std::vector<TokenId> forged = tokens;
    forged[bad * 2 + 1] ^= 1;
    EXPECT_EQ(Match(keys, forged), bad);
    EXPECT_EQ(end_, MatchEnd::kCollision);
  }
}

TEST_F(PrefixIndexTest, EqualStoredHashBitsDoNotConfuseAMatch) {
  // Same low 32 bits, which is all that the table keeps of a key.
  const BlockKey first = {1, 0x55};
  const BlockKey second = {2, 0x55};
  const BlockId a = index_.Insert(root_, first, {1, 2});
  const BlockId b = index_.Insert(root_, second, {3, 4});
  index_.AttachRam(a, 0);
  index_.AttachRam(b, 1);
  BlockId id = kNoBlock;
  EXPECT_EQ(index_.Match(root_, {second}, {3, 4}, absl::MakeSpan(&id, 1), end_), 1u);
  EXPECT_EQ(id, b);
  EXPECT_EQ(index_.Match(root_, {first}, {1, 2}, absl::MakeSpan(&id, 1), end_), 1u);
  EXPECT_EQ(id, a);
}

TEST_F(PrefixIndexTest, TheLastCopyOfAParentMayNotGoBeforeItsChildren) {
  const std::vector<BlockId> chain = Chain(root_, 10, 2);
  EXPECT_FALSE(index_.MayDrop(chain[0]));
  EXPECT_TRUE(index_.MayDrop(chain[1]));
  index_.DetachRam(chain[1]);
  index_.RemoveIfGone(chain[1]);
  EXPECT_TRUE(index_.MayDrop(chain[0]));
  EXPECT_EQ(index_.Find({11, 11 * 77}), kNoBlock);
}

TEST_F(PrefixIndexTest, PinsVetoEverythingThatFreesTheRamCopy) {
  const BlockId id = Chain(root_, 10, 1)[0];
  index_.MarkStored(id);
  EXPECT_TRUE(index_.MayEvict(id));
  index_.Pin(id);
  EXPECT_FALSE(index_.MayEvict(id));
  EXPECT_DEATH(index_.DetachRam(id), "CHECK failed");
  EXPECT_EQ(index_.Unpin(id), 0u);
  EXPECT_TRUE(index_.MayEvict(id));
}

TEST_F(PrefixIndexTest, ADiskCopyStaysWhileItIsLoadedOrHasChildren) {
  const std::vector<BlockId> chain = Chain(root_, 10, 2);
  for (const BlockId id : chain) index_.MarkStored(id);
  EXPECT_FALSE(index_.MayEraseFromDisk(chain[0]));
  EXPECT_TRUE(index_.MayEraseFromDisk(chain[1]));
  index_.SetLoading(chain[1]);
  EXPECT_FALSE(index_.MayEraseFromDisk(chain[1]));
  index_.ClearLoading(chain[1]);
  index_.BeginErase(chain[1]);
  EXPECT_FALSE(index_.MayEraseFromDisk(chain[0])) << "the child is in RAM and needs it";
  index_.DetachRam(chain[1]);
  EXPECT_TRUE(index_.MayEraseFromDisk(chain[0]));
}

TEST_F(PrefixIndexTest, TheDiskCopyOfAParentStaysWhileAChildIsBeingStored) {
  const std::vector<BlockId> chain = Chain(root_, 10, 2);
  index_.MarkStored(chain[0]);
  index_.BeginStore(chain[1]);
  index_.Doom(chain[1]);
  ASSERT_EQ(index_.node(chain[0]).live_children, 0u);
  EXPECT_FALSE(index_.MayEraseFromDisk(chain[0]));
  index_.Condemn(chain[0]);
  EXPECT_FALSE(index_.MayEraseCondemned(chain[0]));
  index_.AbortStore(chain[1]);
  EXPECT_TRUE(index_.MayEraseCondemned(chain[0]));
}

TEST_F(PrefixIndexTest, ABlockBeingErasedIsOutOfTheStoreButKeepsItsKey) {
  const BlockId id = Chain(root_, 10, 1)[0];
  index_.MarkStored(id);
  index_.DetachRam(id);
  EXPECT_EQ(Match({10}, {10, 11}), 1u);
  index_.BeginErase(id);
  EXPECT_EQ(Match({10}, {10, 11}), 0u);
  EXPECT_EQ(index_.Find({10, 770}), id);
  index_.RemoveIfGone(id);
  EXPECT_EQ(index_.Find({10, 770}), id) << "not gone before the disk has forgotten it";
  index_.EndErase(id);
  index_.RemoveIfGone(id);
  EXPECT_EQ(index_.Find({10, 770}), kNoBlock);
}

TEST_F(PrefixIndexTest, AParentThatWaitedForItsChildGoesWithIt) {
  const std::vector<BlockId> chain = Chain(root_, 10, 3);
  index_.Pin(chain[2]);
  for (const BlockId id : {chain[0], chain[1]}) {
    index_.DetachRam(id);
    index_.RemoveIfGone(id);
  }
  EXPECT_EQ(index_.num_nodes(), 4) << "the pinned child keeps the path to it";
  index_.Unpin(chain[2]);
  index_.DetachRam(chain[2]);
  index_.RemoveIfGone(chain[2]);
  EXPECT_EQ(index_.num_nodes(), 1);
  index_.RemoveIfGone(chain[0]);
  EXPECT_EQ(index_.num_nodes(), 1) << "removing again changes nothing";
}

TEST_F(PrefixIndexTest, PrivateBlocksAreNotFoundAndTheirKeysAreCounted) {
  const BlockId a = index_.InsertPrivate(0, {10, 770});
  const BlockId b = index_.InsertPrivate(0, {10, 770});
  index_.AttachRam(a, 0);
  index_.AttachRam(b, 1);
  EXPECT_EQ(Match({10}, {10, 11}), 0u);
  EXPECT_TRUE(index_.HasPrivate({10, 770}));
  for (const BlockId id : {a, b}) {
    EXPECT_TRUE(index_.HasPrivate({10, 770}));
    index_.DetachRam(id);
    index_.RemoveIfGone(id);
  }
  EXPECT_FALSE(index_.HasPrivate({10, 770}));
}

TEST_F(PrefixIndexTest, AGpuCopyKeepsABlockInTheStoreAndGoesWhenALowerOneStays) {
  const std::vector<BlockId> chain = Chain(root_, 10, 2);
  for (const BlockId id : chain) index_.AttachGpu(id);
  EXPECT_TRUE(index_.MayLeaveToGpu(chain[0]));
  index_.DetachRam(chain[0]);
  EXPECT_EQ(Match({10, 11}, {10, 11, 11, 12}), 2u);
  EXPECT_FALSE(index_.MayEvictFromGpu(chain[0])) << "nobody else has it";
  EXPECT_FALSE(index_.MayDropFromGpu(chain[0])) << "it has a child";
  EXPECT_TRUE(index_.MayEvictFromGpu(chain[1]));
  index_.SetGpuHeld(chain[1], true);
  EXPECT_FALSE(index_.MayEvictFromGpu(chain[1]));
  EXPECT_DEATH(index_.DetachGpu(chain[1]), "CHECK failed");
  index_.SetGpuHeld(chain[1], false);
  index_.DetachGpu(chain[1]);
  index_.DetachRam(chain[1]);
  index_.RemoveIfGone(chain[1]);
  EXPECT_TRUE(index_.MayDropFromGpu(chain[0]));
  index_.Pin(chain[0]);
  EXPECT_FALSE(index_.MayDropFromGpu(chain[0])) << "somebody waits for it";
  index_.Unpin(chain[0]);
  index_.RemoveIfGone(chain[0]);
  EXPECT_EQ(index_.num_nodes(), 2);
  index_.DetachGpu(chain[0]);
  index_.RemoveIfGone(chain[0]);
  EXPECT_EQ(index_.num_nodes(), 1);
}

TEST_F(PrefixIndexTest, ADoomAndStalenessLastUntilBothCopiesInMemoryAreGone) {
  const BlockId id = Chain(root_, 10, 1)[0];
  index_.AttachGpu(id);
  index_.Doom(id);
  index_.MarkStale(id);
  index_.DetachRam(id);
  EXPECT_TRUE(index_.node(id).doomed);
  EXPECT_TRUE(index_.node(id).stale);
  EXPECT_EQ(Match({10}, {10, 11}), 0u);
  index_.DetachGpu(id);
  EXPECT_FALSE(index_.node(id).doomed);
  EXPECT_FALSE(index_.node(id).stale);
}

TEST_F(PrefixIndexTest, IdsAreReusedAndNodesNeverMove) {
  const BlockId first = Chain(root_, 10, 1)[0];
  const PrefixIndex::Node* node = &index_.node(first);
  Chain(root_, 100, 10000);
  EXPECT_EQ(&index_.node(first), node);
  index_.DetachRam(first);
  index_.RemoveIfGone(first);
  EXPECT_EQ(Chain(root_, 50000, 1)[0], first);
}

}  // namespace
}  // namespace reprise::cachestore
