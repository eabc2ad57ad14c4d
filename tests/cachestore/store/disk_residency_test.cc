#include "cachestore/store/disk_residency.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "cachestore/policy/lru_policy.h"
#include "cachestore/store/integrity.h"

namespace reprise::cachestore {
namespace {

constexpr int32_t kTokens = 2;
constexpr int kSlots = 256;

// Works on the metadata alone.
class DiskResidencyTest : public ::testing::Test {
 protected:
  DiskResidencyTest() {
    namespace_id_ = state_.index.AddNamespace(root_, kTokens);
    state_.AddNamespace({.payload_bytes = 4096, .identity = "test"});
  }
  void TearDown() override { EXPECT_EQ(CheckState(state_), absl::OkStatus()); }

  // An unpinned chain in RAM, root first; keys count from `first`.
  std::vector<BlockId> SealChain(uint64_t first, int64_t count) {
    return SealBelow(root_, first, count);
  }
  std::vector<BlockId> SealBelow(BlockKey parent, uint64_t first, int64_t count) {
    return SealIn(namespace_id_, parent, first, count);
  }
  std::vector<BlockId> SealIn(uint32_t namespace_id, BlockKey parent, uint64_t first,
                              int64_t count) {
    std::vector<BlockId> chain;
    for (uint64_t k = first; k < first + count; ++k) {
      const std::optional<SlotIndex> slot = ram_.AllocateSlot(namespace_id);
      EXPECT_TRUE(slot.has_value());
      state_.writing.emplace(*slot, state_.epoch);
      const std::vector<TokenId> tokens = {static_cast<TokenId>(k), 0};
      chain.push_back(ram_.Seal({.namespace_id = namespace_id,
                                 .slot = *slot,
                                 .parent = parent,
                                 .key = {k, k},
                                 .words = tokens}));
      parent = {k, k};
    }
    for (const BlockId id : chain) ram_.Unpin(id);
    return chain;
  }
  StoreGoal Goal(size_t max_blocks, uint64_t max_bytes = uint64_t{1} << 30) const {
    return {.max_blocks = max_blocks, .max_bytes = max_bytes};
  }
  StoreBatch Begin(const StoreGoal& goal) {
    StoreBatch batch;
    do {
      batch = disk_.BeginStore(goal);
    } while (batch.look_again);
    return batch;
  }
  void StoreAll() {
    for (;;) {
      const StoreBatch batch = Begin(Goal(32));
      if (batch.blocks.empty()) return;
      disk_.EndStore(batch);
    }
  }

  // In the smallest steps; empty when not all may go.
  std::vector<BlockId> EraseTogether(const std::vector<BlockKey>& keys, uint64_t payload_bytes) {
    ErasedTogether together;
    if (!disk_.AddTogether(keys, together)) return {};
    while (together.looked_at < together.blocks.size()) {
      if (!disk_.LookTogether(1, payload_bytes, 100, together)) return {};
    }
    std::vector<BlockId> erased;
    while (!together.done()) {
      const std::vector<BlockId> some = disk_.BeginEraseTogether(1, together);
      EXPECT_LE(some.size(), 1u);
      erased.insert(erased.end(), some.begin(), some.end());
    }
    return erased;
  }

  // A block on disk alone, with five chains of 200 below it.
  BlockId StoreTree() {
    const BlockId top = SealChain(100, 1)[0];
    for (uint64_t i = 1; i <= 5; ++i) {
      SealBelow({100, 100}, 1000 * i, 200);
      StoreAll();
      ram_.TakeVictims(kSlots, Victims::kClean, state_.order->TakeMoment());
    }
    EXPECT_EQ(state_.index.num_on_disk(), 1001);
    EXPECT_EQ(state_.pool.used_slots(), 0);
    return top;
  }

  alignas(4096) std::byte memory_[kSlots * 4096];
  StoreState state_{absl::MakeSpan(memory_), {}, std::make_unique<LruPolicy>(),
                    /*has_disk_tier=*/true};
  RamResidency ram_{state_};
  AdmitUseful admission_;
  GpuResidency gpu_{state_, ram_, nullptr};
  DiskResidency disk_{state_, ram_, gpu_, admission_};
  const BlockKey root_ = {1, 2};
  uint32_t namespace_id_ = 0;
};

TEST_F(DiskResidencyTest, ALongChainIsStoredFromItsRootInBatches) {
  const std::vector<BlockId> chain = SealChain(100, 200);
  std::vector<BlockId> stored;
  while (stored.size() < chain.size()) {
    const StoreBatch batch = Begin(Goal(32));
    ASSERT_FALSE(batch.blocks.empty());
    EXPECT_LE(batch.blocks.size(), 32u);
    stored.insert(stored.end(), batch.blocks.begin(), batch.blocks.end());
    disk_.EndStore(batch);
    EXPECT_EQ(CheckState(state_), absl::OkStatus());
  }
  EXPECT_EQ(stored, chain);
  EXPECT_TRUE(Begin(Goal(32)).blocks.empty());
  EXPECT_EQ(state_.clean_tail_bytes, 200 * 4096);
}

TEST_F(DiskResidencyTest, AStepLooksAtFewBlocksAndTheNextOneGoesOn) {
  SealChain(100, 200);
  const StoreBatch batch = disk_.BeginStore(Goal(32));
  EXPECT_TRUE(batch.blocks.empty());
  EXPECT_TRUE(batch.look_again) << "the way up to the root is longer than one step";
  disk_.EndStore(Begin(Goal(32)));
}

TEST_F(DiskResidencyTest, ABatchIsBoundedByItsBytesToo) {
  SealChain(100, 10);
  const StoreBatch three = Begin(Goal(32, 3 * 4096 + 100));
  EXPECT_EQ(three.blocks.size(), 3u);
  disk_.EndStore(three);
  const StoreBatch one = Begin(Goal(32, 1));
  EXPECT_EQ(one.blocks.size(), 1u) << "never none";
  disk_.EndStore(one);
}

TEST_F(DiskResidencyTest, TheOldestBlockIsStoredFirst) {
  const std::vector<BlockId> old_chain = SealChain(100, 2);
  const std::vector<BlockId> young_chain = SealChain(200, 2);
  ram_.Pin(old_chain[1]);
  ram_.Unpin(old_chain[1]);  // goes on before its parent, which was not used
  StoreBatch batch = Begin(Goal(2));
  EXPECT_EQ(batch.blocks, old_chain);
  disk_.ShrinkStore(batch, 0);
  for (const BlockId id : old_chain) ram_.Pin(id);
  for (const BlockId id : old_chain) ram_.Unpin(id);
  batch = Begin(Goal(2));
  EXPECT_EQ(batch.blocks, young_chain);
  disk_.ShrinkStore(batch, 0);
}

TEST_F(DiskResidencyTest, BlocksUsedAfterTheMomentAreLeftAlone) {
  const std::vector<BlockId> old_chain = SealChain(100, 2);
  StoreGoal goal = Goal(32);
  goal.moment = state_.order->TakeMoment();
  SealChain(200, 2);
  const StoreBatch batch = Begin(goal);
  EXPECT_EQ(batch.blocks, old_chain);
  disk_.EndStore(batch);
  EXPECT_TRUE(Begin(goal).blocks.empty());
}

TEST_F(DiskResidencyTest, OnAFullDiskABlockNobodyAskedForAgainIsNotAdmittedBeforeYoungerOnes) {
  const BlockId on_disk = SealChain(300, 1)[0];
  StoreAll();
  const BlockId young = SealChain(400, 1)[0];
  const BlockId reused = SealChain(500, 1)[0];
  state_.index.SetReused(reused);
  ram_.Pin(on_disk);
  ram_.Unpin(on_disk);
  disk_.NoteDiskFull(4096, false);
  StoreBatch batch = Begin(Goal(32));
  EXPECT_EQ(batch.blocks.size(), 2u) << "there is room";
  disk_.ShrinkStore(batch, 0);
  disk_.NoteDiskFull(4096, true);
  batch = Begin(Goal(32));
  EXPECT_EQ(batch.blocks, std::vector<BlockId>{reused});
  EXPECT_EQ(state_.counters.rejected_blocks, 1);
  disk_.EndStore(batch);
  // It stays until its slot is needed, and is the first to go.
  EXPECT_TRUE(state_.index.node(young).in_ram());
  EXPECT_EQ(ram_.TakeVictims(1, Victims::kClean, state_.order->TakeMoment()).dropped, 1);
  EXPECT_EQ(state_.index.Find({400, 400}), kNoBlock);
}

TEST_F(DiskResidencyTest, WhatIsInRamAndOnDiskIsKnownWhetherItMayGoOrNot) {
  const auto twice_held = [&] { return state_.book.twice_held_bytes_of_share(kCommonShare); };
  const BlockId on_disk = SealChain(300, 1)[0];
  EXPECT_EQ(twice_held(), 0);
  StoreAll();
  EXPECT_EQ(twice_held(), 4096);
  SealChain(400, 1);
  ram_.Pin(on_disk);
  EXPECT_EQ(twice_held(), 4096);
  ram_.Unpin(on_disk);
  disk_.NoteDiskFull(4096, true);
  EXPECT_TRUE(Begin(Goal(32)).blocks.empty());
  EXPECT_EQ(state_.counters.rejected_blocks, 1);
  EXPECT_EQ(state_.clean_bytes, 2 * 4096) << "the one that is rejected may go at once as well";
  EXPECT_EQ(twice_held(), 4096);
  ram_.TakeVictims(2, Victims::kClean, state_.order->TakeMoment());
  EXPECT_EQ(twice_held(), 0);
}

TEST_F(DiskResidencyTest, ARejectedBlockThatIsUsedAgainIsConsideredAgain) {
  const BlockId on_disk = SealChain(300, 1)[0];
  StoreAll();
  const BlockId id = SealChain(400, 1)[0];
  ram_.Pin(on_disk);
  ram_.Unpin(on_disk);
  disk_.NoteDiskFull(4096, true);
  EXPECT_TRUE(Begin(Goal(32)).blocks.empty());
  ram_.Pin(id);
  ram_.Unpin(id);
  const StoreBatch batch = Begin(Goal(32));
  EXPECT_EQ(batch.blocks, std::vector<BlockId>{id});
  disk_.EndStore(batch);
}

TEST_F(DiskResidencyTest, ErasingTakesTheRamCopyAlong) {
  const std::vector<BlockId> chain = SealChain(100, 3);
  StoreAll();
  const std::vector<BlockId> erased = disk_.BeginErase(4096, 2);
  EXPECT_EQ(erased, (std::vector<BlockId>{chain[2], chain[1]}));
  disk_.EndErase(erased);
  EXPECT_EQ(state_.pool.used_slots(), 1);
  EXPECT_EQ(state_.counters.dropped_blocks, 2);
}

TEST_F(DiskResidencyTest, WhatIsPinnedIsNotErased) {
  const std::vector<BlockId> chain = SealChain(100, 3);
  StoreAll();
  ram_.Pin(chain[2]);
  EXPECT_TRUE(disk_.BeginErase(4096, 3).empty());
  ram_.Unpin(chain[2]);
}

TEST_F(DiskResidencyTest, BlocksAreErasedTogetherWithThoseBelowThemOrNotAtAll) {
  const std::vector<BlockId> chain = SealChain(100, 4);
  const std::vector<BlockId> other = SealChain(200, 1);
  StoreAll();
  const std::vector<BlockKey> keys = {{101, 101}, {200, 200}};
  // Everything but the first block goes for a size that has no block on disk.
  ram_.Pin(chain[3]);
  EXPECT_TRUE(EraseTogether(keys, 8192).empty()) << "a block below is pinned";
  ram_.Unpin(chain[3]);
  const std::vector<BlockId> erased = EraseTogether(keys, 8192);
  EXPECT_EQ(erased.size(), 4u);
  disk_.EndErase(erased);
  EXPECT_NE(state_.index.Find({100, 100}), kNoBlock);
  for (const uint64_t k : {101, 102, 103, 200}) EXPECT_EQ(state_.index.Find({k, k}), kNoBlock);
}

TEST_F(DiskResidencyTest, BlocksOfAFileThatAreUsedBetweenTheStepsStay) {
  const std::vector<BlockId> chain = SealChain(100, 4);
  StoreAll();
  ErasedTogether together;
  const std::vector<BlockKey> keys = {{100, 100}, {102, 102}};
  ASSERT_TRUE(disk_.AddTogether(keys, together));
  ASSERT_TRUE(disk_.LookTogether(100, 8192, 100, together));
  EXPECT_EQ(together.blocks.size(), 4u);
  ram_.Pin(chain[1]);
  const std::vector<BlockId> erased = disk_.BeginEraseTogether(100, together);
  EXPECT_EQ(erased, (std::vector<BlockId>{chain[3], chain[2]}));
  EXPECT_TRUE(together.done());
  disk_.EndErase(erased);
  ram_.Unpin(chain[1]);
}

TEST_F(DiskResidencyTest, ABlockThatChangedInRamGoesWithWhatIsBelowIt) {
  const std::vector<BlockId> chain = SealChain(100, 4);
  StoreBatch batch = Begin(Goal(2));
  ASSERT_EQ(batch.blocks, (std::vector<BlockId>{chain[0], chain[1]}));
  ram_.Pin(chain[2]);
  disk_.ShrinkStore(batch, 0);
  disk_.DropCorrupt(chain[1]);
  EXPECT_EQ(state_.counters.corrupt_ram_blocks, 1);
  EXPECT_EQ(state_.counters.dropped_blocks, 3);
  EXPECT_TRUE(state_.index.node(chain[0]).in_store());
  EXPECT_TRUE(state_.index.node(chain[2]).doomed) << "as long as it is pinned";
  ram_.Unpin(chain[2]);
  EXPECT_EQ(state_.pool.used_slots(), 1);
}

TEST_F(DiskResidencyTest, WhatIsBelowALostBlockIsCondemnedInBoundedSteps) {
  const BlockId top = StoreTree();
  disk_.Condemn(top, Removal::kFailedVerification);
  EXPECT_FALSE(state_.index.node(top).in_store());
  EXPECT_LT(state_.index.num_condemned(), 300);
  EXPECT_FALSE(state_.orphans.empty());
  // Erases in between take nodes away, and what is still to be condemned stays.
  while (!state_.orphans.empty()) {
    const int64_t condemned = state_.index.num_condemned();
    disk_.CondemnOrphans(7);
    EXPECT_LE(state_.index.num_condemned(), condemned + 7);
    const std::vector<BlockId> erased = disk_.BeginEraseCondemned(5);
    EXPECT_LE(erased.size(), 5u);
    disk_.EndErase(erased);
    ASSERT_EQ(CheckState(state_), absl::OkStatus());
  }
  while (!state_.condemned.empty()) disk_.EndErase(disk_.BeginEraseCondemned(100));
  EXPECT_EQ(state_.index.num_nodes(), 1) << "the root";
  EXPECT_EQ(state_.counters.dropped_blocks, 1001);
}

TEST_F(DiskResidencyTest, ALostBlockThatIsSealedAgainKeepsNothingOfTheOldBelowIt) {
  const BlockId top = StoreTree();
  disk_.Condemn(top, Removal::kFailedVerification);
  SealChain(100, 1);
  EXPECT_TRUE(state_.index.node(top).in_store());
  const BlockId young = SealBelow({100, 100}, 9000, 1)[0];
  disk_.Condemn(top, Removal::kFailedVerification);  // while orphans of the first time are left
  while (!state_.orphans.empty()) disk_.CondemnOrphans(10);
  while (!state_.condemned.empty()) disk_.EndErase(disk_.BeginEraseCondemned(100));
  EXPECT_TRUE(state_.index.node(top).in_store()) << "in RAM";
  EXPECT_TRUE(state_.index.node(young).in_store());
  EXPECT_EQ(state_.index.num_nodes(), 3);
}

TEST_F(DiskResidencyTest, WhatCannotBeStoredNowHoldsUpNoOtherShare) {
  const BlockKey root_of_b = {3, 4};
  const uint32_t b = state_.index.AddNamespace(root_of_b, kTokens);
  state_.ShareFor("b");
  state_.AddNamespace({.payload_bytes = 4096, .identity = "b", .tenant = "b"});
  const std::vector<BlockId> oldest = SealChain(100, 2);
  disk_.EndStore(disk_.BeginStore(Goal(1)));
  disk_.Condemn(oldest[0], Removal::kLost);  // must be erased before anything below it is stored
  const std::vector<BlockId> of_b = SealIn(b, root_of_b, 200, 3);
  const StoreBatch batch = Begin(Goal(32));
  EXPECT_EQ(batch.blocks, of_b);
  disk_.EndStore(batch);
  EXPECT_TRUE(Begin(Goal(32)).blocks.empty());
}

TEST_F(DiskResidencyTest, BlocksThatHaveNotMovedToTheirShareYetAreStored) {
  const std::vector<BlockId> chain = SealChain(100, 3);
  state_.JoinShare(namespace_id_, state_.ShareFor(""));
  const StoreBatch batch = Begin(Goal(2));
  EXPECT_EQ(batch.blocks, std::vector<BlockId>(chain.begin(), chain.begin() + 2));
  disk_.EndStore(batch);
  disk_.EndStore(Begin(Goal(2)));  // moved by the steps of the others, or not at all
  for (const BlockId id : chain) EXPECT_TRUE(state_.index.node(id).readable_on_disk());
}

TEST_F(DiskResidencyTest, InvalidatingOrphansLeavesNothing) {
  const BlockId top = StoreTree();
  disk_.Condemn(top, Removal::kFailedVerification);
  std::vector<BlockId> all;
  state_.index.VisitSome(0, 100000, [&](BlockId id) {
    if (!state_.index.node(id).is_root) all.push_back(id);
  });
  for (const BlockId id : all) disk_.Invalidate(id);
  while (!state_.condemned.empty()) disk_.EndErase(disk_.BeginEraseCondemned(100));
  EXPECT_FALSE(state_.orphans.empty());
  EXPECT_EQ(CheckState(state_), absl::OkStatus());
  while (!state_.orphans.empty()) disk_.CondemnOrphans(10);
  EXPECT_EQ(state_.index.num_nodes(), 1);
}

}  // namespace
}  // namespace reprise::cachestore
