#include "cachestore/store/tiered_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <thread>
#include <vector>

#include "cachestore/base/hash.h"
#include "tests/fakes/store_fixture.h"

namespace reprise::cachestore {
namespace {

using ::testing::HasSubstr;

using TieredStoreTest = StoreFixture;

TEST_F(TieredStoreTest, ASealedBlockIsFoundAndPinnedWithItsBytes) {
  OpenRamOnly(8);
  const std::vector<TokenId> tokens = PromptTokens(1, 3);
  EXPECT_EQ(store_->Match(ns_, tokens, 10).total_blocks(), 0);
  SealChain(ns_, tokens);
  EXPECT_EQ(store_->Match(ns_, tokens, 10).ram_blocks, 3);
  const PinnedPrefix prefix = PinNow(ns_, tokens);
  EXPECT_EQ(prefix.ram_blocks, 3);
  EXPECT_EQ(store_->stats().pinned_blocks, 3);
}

TEST_F(TieredStoreTest, AMatchStopsAtTheFirstDifferentTokenAndAtTheCap) {
  OpenRamOnly(8);
  std::vector<TokenId> tokens = PromptTokens(1, 4);
  SealChain(ns_, tokens);
  EXPECT_EQ(store_->Match(ns_, tokens, 2).total_blocks(), 2);
  EXPECT_EQ(store_->Match(ns_, tokens, -1).total_blocks(), 0);
  EXPECT_EQ(store_->Match(ns_, absl::MakeSpan(tokens).first(11), 10).total_blocks(), 2);
  tokens[9] += 1;
  EXPECT_EQ(store_->Match(ns_, tokens, 10).total_blocks(), 2);
  tokens[0] += 1;
  EXPECT_EQ(store_->Match(ns_, tokens, 10).total_blocks(), 0);
}

TEST_F(TieredStoreTest, LongPromptsMatchBlockByBlockToTheEnd) {
  OpenRamOnly(200);
  const std::vector<TokenId> tokens = PromptTokens(1, 200);
  SealChain(ns_, tokens);
  for (const int64_t cap : {1, 15, 16, 17, 31, 32, 33, 64, 65, 199, 200}) {
    EXPECT_EQ(store_->Match(ns_, tokens, cap).ram_blocks, cap);
  }
}

TEST_F(TieredStoreTest, SealingTheSameBlockTwiceKeepsOneCopy) {
  OpenRamOnly(8);
  const std::vector<TokenId> tokens = PromptTokens(1, 1);
  const BlockRef first = SealOne(ns_, ns_.root, tokens);
  const BlockRef second = SealOne(ns_, ns_.root, tokens);
  EXPECT_EQ(first.bytes().data(), second.bytes().data());
  EXPECT_EQ(store_->stats().duplicate_seals, 1);
  EXPECT_EQ(store_->stats().ram_blocks, 1);
  EXPECT_EQ(store_->stats().ram_used_bytes, kSlotBytes);
}

TEST_F(TieredStoreTest, AnUnsealedBlockIsNeverMatchedAndItsSlotIsFreed) {
  OpenRamOnly(1);
  {
    absl::StatusOr<WritableBlock> block = store_->Allocate(ns_);
    ASSERT_TRUE(block.ok());
    EXPECT_EQ(store_->stats().writing_blocks, 1);
    EXPECT_EQ(store_->Allocate(ns_).status().code(), absl::StatusCode::kResourceExhausted);
  }
  EXPECT_EQ(store_->stats().ram_used_bytes, 0);
  EXPECT_EQ(store_->stats().rejected_allocations, 1);
  EXPECT_TRUE(store_->Allocate(ns_).ok());
}

TEST_F(TieredStoreTest, ABlockWithoutItsParentStaysPrivate) {
  OpenRamOnly(8);
  const std::vector<TokenId> tokens = PromptTokens(1, 2);
  const BlockKey missing = ChildKey(ns_.root, absl::MakeSpan(tokens).first(kBlockTokens));
  {
    const BlockRef orphan =
        SealOne(ns_, missing, absl::MakeSpan(tokens).subspan(kBlockTokens, kBlockTokens));
    EXPECT_TRUE(PayloadIsRight(orphan.key(), orphan.bytes()));
    // The parent arrives later; the orphan does not become its child.
    const BlockRef parent = SealOne(ns_, ns_.root, absl::MakeSpan(tokens).first(kBlockTokens));
    EXPECT_EQ(store_->Match(ns_, tokens, 10).total_blocks(), 1);
    EXPECT_EQ(store_->stats().ram_blocks, 2);
  }
  EXPECT_EQ(store_->stats().ram_blocks, 1) << "the private block goes with its pin";
}

TEST_F(TieredStoreTest, WithoutDiskTheLeastRecentlyUsedLeafIsDropped) {
  OpenRamOnly(4);
  const std::vector<TokenId> old_prompt = PromptTokens(1, 2);
  const std::vector<TokenId> young_prompt = PromptTokens(2, 2);
  SealChain(ns_, old_prompt);
  SealChain(ns_, young_prompt);
  const BlockRef extra = SealOne(ns_, ns_.root, PromptTokens(3, 1));
  EXPECT_EQ(store_->Match(ns_, old_prompt, 10).total_blocks(), 1) << "its leaf went, not its root";
  EXPECT_EQ(store_->Match(ns_, young_prompt, 10).total_blocks(), 2);
  EXPECT_EQ(store_->stats().dropped_blocks, 1);
}

TEST_F(TieredStoreTest, AHitMakesAPromptYoung) {
  OpenRamOnly(4);
  SealChain(ns_, PromptTokens(1, 2));
  SealChain(ns_, PromptTokens(2, 2));
  PinNow(ns_, PromptTokens(1, 2));
  const std::vector<BlockRef> extra = SealChain(ns_, PromptTokens(3, 2));
  EXPECT_EQ(store_->Match(ns_, PromptTokens(1, 2), 10).total_blocks(), 2);
  EXPECT_EQ(store_->Match(ns_, PromptTokens(2, 2), 10).total_blocks(), 0);
}

TEST_F(TieredStoreTest, PinnedBlocksAreNotEvictedAndAllocateSaysSo) {
  OpenRamOnly(3);
  std::vector<BlockRef> pins = SealChain(ns_, PromptTokens(1, 3));
  const absl::StatusOr<WritableBlock> block = store_->Allocate(ns_);
  EXPECT_EQ(block.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(block.status().message()), HasSubstr("3 blocks are pinned"));
  pins.pop_back();
  EXPECT_TRUE(store_->Allocate(ns_).ok());
  EXPECT_EQ(store_->Match(ns_, PromptTokens(1, 3), 10).total_blocks(), 2);
}

TEST_F(TieredStoreTest, TheRamBudgetIsExact) {
  OpenRamOnly(13);
  EXPECT_EQ(store_->capacity_blocks(ns_), 13);
  std::vector<WritableBlock> blocks;
  for (int i = 0; i < 13; ++i) {
    absl::StatusOr<WritableBlock> block = store_->Allocate(ns_);
    ASSERT_TRUE(block.ok()) << i;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(block->bytes().data()) % 4096, 0u);
    blocks.push_back(*std::move(block));
  }
  EXPECT_FALSE(store_->Allocate(ns_).ok());
  EXPECT_EQ(store_->stats().ram_used_bytes, store_->stats().ram_capacity_bytes);
}

TEST_F(TieredStoreTest, NamespacesNeverShareBlocks) {
  OpenRamOnly(8);
  const NamespaceHandle other = OpenNamespace(TestIdentity("other"));
  EXPECT_NE(other.root, ns_.root);
  SealChain(ns_, PromptTokens(1, 2));
  EXPECT_EQ(store_->Match(other, PromptTokens(1, 2), 10).total_blocks(), 0);
  EXPECT_EQ(OpenNamespace(TestIdentity()).id, ns_.id) << "the same identity, the same namespace";
}

TEST_F(TieredStoreTest, TwoBlockSizesShareOneBudget) {
  OpenRamOnly(24);
  const NamespaceHandle wide = OpenNamespace(TestIdentity("wide", 6));  // three slots' worth
  ASSERT_EQ(store_->capacity_blocks(wide), 8);
  for (uint32_t round = 0; round < 4; ++round) {
    SealChain(ns_, PromptTokens(10 + round, 24));
    EXPECT_EQ(store_->Match(ns_, PromptTokens(10 + round, 24), 100).total_blocks(), 24);
    SealChain(wide, PromptTokens(20 + round, 8));
    EXPECT_EQ(store_->Match(wide, PromptTokens(20 + round, 8), 100).total_blocks(), 8);
    EXPECT_EQ(PinNow(wide, PromptTokens(20 + round, 8)).ram_blocks, 8);
    EXPECT_LE(store_->stats().ram_used_bytes, store_->stats().ram_capacity_bytes);
  }
}

TEST_F(TieredStoreTest, OldBlocksThatMustStayDoNotHideVictims) {
  OpenRamOnly(2100);
  std::vector<BlockRef> chain = SealChain(ns_, PromptTokens(1, 2000));
  const BlockRef leaf = std::move(chain.back());
  chain.clear();
  SealChain(ns_, PromptTokens(2, 100));
  ASSERT_EQ(store_->stats().ram_blocks, 2100);
  EXPECT_TRUE(store_->Allocate(ns_).ok()) << "the leaf of the younger prompt may go";
}

TEST_F(TieredStoreTest, OldSlabsThatMustStayDoNotHideOneThatMayGo) {
  OpenRamOnly(1088);
  const NamespaceHandle wide = OpenNamespace(TestIdentity("wide", 6));  // three slots' worth
  std::vector<BlockRef> pins;
  for (uint32_t prompt = 0; prompt < 17; ++prompt) {
    std::vector<BlockRef> chain = SealChain(ns_, PromptTokens(prompt, 64));
    if (prompt < 16) pins.push_back(std::move(chain[0]));
  }
  ASSERT_EQ(store_->stats().ram_used_bytes, store_->stats().ram_capacity_bytes);
  EXPECT_TRUE(store_->Allocate(wide).ok());
}

TEST_F(TieredStoreTest, ANamespaceInUseTakesTheRoomOfAnUnusedOneOfAnotherSize) {
  OpenRamOnly(512);
  const NamespaceHandle wide = OpenNamespace(TestIdentity("wide", 6));  // three slots' worth
  for (uint32_t prompt = 0; prompt < 8; ++prompt) SealChain(ns_, PromptTokens(prompt, 64));
  ASSERT_EQ(store_->stats().ram_used_bytes, store_->stats().ram_capacity_bytes);
  constexpr uint32_t kPrompts = 18;
  for (uint32_t prompt = 0; prompt < kPrompts; ++prompt) SealChain(wide, PromptTokens(prompt, 8));
  for (uint32_t prompt = 0; prompt < kPrompts; ++prompt) {
    EXPECT_EQ(store_->Match(wide, PromptTokens(prompt, 8), 10).ram_blocks, 8) << prompt;
  }
}

TEST_F(TieredStoreTest, AnAllocationThatFailsDropsNothing) {
  OpenRamOnly(64);                                                      // slabs of 8 slots
  const NamespaceHandle wide = OpenNamespace(TestIdentity("wide", 6));  // three slots' worth
  std::vector<BlockRef> chain = SealChain(ns_, PromptTokens(1, 4));
  for (uint32_t prompt = 2; prompt < 6; ++prompt) SealChain(ns_, PromptTokens(prompt, 1));
  // The first slab: the beginning of a chain that goes on elsewhere, and four leaves.
  std::vector<TokenId> tokens = PromptTokens(1, 5);
  const BlockRef last =
      SealOne(ns_, chain.back().key(), absl::MakeSpan(tokens).subspan(4 * kBlockTokens));
  chain.clear();
  const std::vector<BlockRef> pins = SealChain(ns_, PromptTokens(9, 55));
  EXPECT_FALSE(store_->Allocate(wide).ok());
  EXPECT_EQ(store_->stats().dropped_blocks, 0);
}

TEST_F(TieredStoreTest, BadOptionsAndBlocksThatDoNotFitAreRefused) {
  StoreOptions options = Options(4);
  options.ram_free_low_watermark = 0.9;
  EXPECT_THAT(std::string(TieredStore::Open(options, nullptr).status().message()),
              HasSubstr("ram_free_low_watermark is 0.9"));
  options = Options(0);
  EXPECT_EQ(TieredStore::Open(options, nullptr).status().code(),
            absl::StatusCode::kInvalidArgument);
  OpenRamOnly(1);
  const absl::Status too_big = store_->OpenNamespace(TestIdentity("wide", 6)).status();
  EXPECT_EQ(too_big.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(too_big.message()), HasSubstr("12288 bytes and the RAM budget is 4096"));
}

TEST_F(TieredStoreTest, TheLargestBlocksAreKeptAndLargerOnesRefused) {
  OpenRamOnly(64);
  NamespaceIdentity identity = TestIdentity();
  identity.layout = {.num_layers = 1,
                     .num_kv_heads = 1,
                     .head_dim = 1,
                     .block_tokens = 4096,
                     .dtype = DType::kF32};
  const NamespaceHandle ns = OpenNamespace(identity);
  const std::vector<TokenId> tokens(2 * 4096, 7);
  const BlockRef first = SealOne(ns, ns.root, absl::MakeSpan(tokens).first(4096));
  const BlockRef second = SealOne(ns, first.key(), absl::MakeSpan(tokens).first(4096));
  EXPECT_EQ(store_->Match(ns, tokens, 10).total_blocks(), 2);
  identity.layout.block_tokens = 1 << 20;  // still less than 16 MiB
  EXPECT_EQ(store_->OpenNamespace(identity).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(TieredStoreTest, AwaitRoomReturnsWhenAPinGoesAndAtTheDeadline) {
  OpenRamOnly(1);
  BlockRef pin = SealOne(ns_, ns_.root, PromptTokens(1, 1));
  store_->AwaitRoom(ns_, absl::Now());
  EXPECT_FALSE(store_->Allocate(ns_).ok());
  std::thread waiter([&] { store_->AwaitRoom(ns_, absl::Now() + absl::Seconds(60)); });
  pin = BlockRef();
  waiter.join();
  EXPECT_TRUE(store_->Allocate(ns_).ok());
}

TEST_F(TieredStoreTest, EveryLookupIsAHitOrAMiss) {
  OpenRamOnly(8);
  SealChain(ns_, PromptTokens(1, 3));
  std::vector<TokenId> tokens = PromptTokens(1, 5);
  PinNow(ns_, tokens);
  tokens[5] += 1;
  PinNow(ns_, tokens);
  const StoreStats stats = store_->stats();
  EXPECT_EQ(stats.looked_up_tokens, 10 * kBlockTokens);
  EXPECT_EQ(stats.hit_ram_tokens, 4 * kBlockTokens);
  EXPECT_EQ(stats.missed_absent_tokens, 6 * kBlockTokens);
  ExpectLookupsAreConserved();
}

TEST_F(TieredStoreTest, DemoteNeedsADiskTier) {
  OpenRamOnly(2);
  EXPECT_EQ(store_->Demote().status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(TieredStoreTest, ABlockTravelsToDiskAndBack) {
  OpenWithDisk(8, 8);
  const std::vector<TokenId> tokens = PromptTokens(1, 3);
  SealChain(ns_, tokens);
  const absl::StatusOr<int64_t> moved = store_->Demote();
  ASSERT_TRUE(moved.ok());
  EXPECT_EQ(*moved, 3);
  EXPECT_EQ(store_->stats().ram_blocks, 0);
  EXPECT_EQ(store_->stats().ram_used_bytes, 0);
  EXPECT_EQ(store_->Match(ns_, tokens, 10).disk_blocks, 3);
  const PinnedPrefix prefix = PinNow(ns_, tokens);
  EXPECT_EQ(prefix.disk_blocks, 3);
  EXPECT_EQ(PinNow(ns_, tokens).ram_blocks, 3);
  const StoreStats stats = store_->stats();
  EXPECT_EQ(stats.demoted_blocks, 3);
  EXPECT_EQ(stats.promoted_blocks, 3);
  EXPECT_EQ(stats.hit_disk_tokens, 3 * kBlockTokens);
  EXPECT_EQ(stats.dropped_blocks, 0);
  ExpectLookupsAreConserved();
}

TEST_F(TieredStoreTest, RamOverflowsToDiskInTheBackground) {
  OpenWithDisk(16, 256);
  for (uint32_t prompt = 0; prompt < 16; ++prompt) SealChain(ns_, PromptTokens(prompt, 8));
  int64_t on_disk = 0;
  for (uint32_t prompt = 0; prompt < 16; ++prompt) {
    const PinnedPrefix prefix = PinNow(ns_, PromptTokens(prompt, 8));
    EXPECT_EQ(prefix.blocks.size(), 8u) << "prompt " << prompt;
    on_disk += prefix.disk_blocks;
  }
  EXPECT_GE(on_disk, 16 * 8 - 16);
  EXPECT_EQ(store_->stats().dropped_blocks, 0);
}

TEST_F(TieredStoreTest, AFullDiskGivesUpItsOldestLeaves) {
  OpenWithDisk(8, 16);
  for (uint32_t prompt = 0; prompt < 10; ++prompt) {
    SealChain(ns_, PromptTokens(prompt, 4));
    ASSERT_TRUE(store_->Demote().ok());
    EXPECT_LE(store_->stats().disk_used_bytes, 16 * kSlotBytes);
  }
  EXPECT_EQ(store_->stats().disk_blocks, 16);
  EXPECT_EQ(store_->stats().dropped_blocks, 24);
  for (uint32_t prompt = 0; prompt < 6; ++prompt) {
    EXPECT_EQ(store_->Match(ns_, PromptTokens(prompt, 4), 10).total_blocks(), 0);
  }
  for (uint32_t prompt = 6; prompt < 10; ++prompt) {
    EXPECT_EQ(PinNow(ns_, PromptTokens(prompt, 4)).disk_blocks, 4);
  }
}

TEST_F(TieredStoreTest, AChainLongerThanTheDiskKeepsItsBeginning) {
  OpenWithDisk(16, 6);
  SealChain(ns_, PromptTokens(1, 16));
  const absl::StatusOr<int64_t> moved = store_->Demote();
  ASSERT_TRUE(moved.ok());
  EXPECT_EQ(*moved, 6);
  EXPECT_EQ(store_->Match(ns_, PromptTokens(1, 16), 100).disk_blocks, 6);
  EXPECT_EQ(store_->stats().dropped_blocks, 10);
}

TEST_F(TieredStoreTest, PinnedBlocksStayInRamThroughDemote) {
  OpenWithDisk(8, 8);
  const std::vector<BlockRef> pins = SealChain(ns_, PromptTokens(1, 2));
  SealChain(ns_, PromptTokens(1, 4));
  const absl::StatusOr<int64_t> moved = store_->Demote();
  ASSERT_TRUE(moved.ok());
  EXPECT_EQ(*moved, 2);
  const PrefixMatch match = store_->Match(ns_, PromptTokens(1, 4), 10);
  EXPECT_EQ(match.ram_blocks, 2);
  EXPECT_EQ(match.disk_blocks, 2);
  EXPECT_EQ(store_->stats().disk_blocks, 4) << "the pinned ancestors were copied too";
  EXPECT_TRUE(PayloadIsRight(pins[1].key(), pins[1].bytes()));
}

TEST_F(TieredStoreTest, ASealOfABlockThatOnlyDiskHoldsBecomesItsRamCopy) {
  OpenWithDisk(8, 8);
  SealChain(ns_, PromptTokens(1, 2));
  ASSERT_TRUE(store_->Demote().ok());
  ASSERT_EQ(store_->Match(ns_, PromptTokens(1, 2), 10).disk_blocks, 2);
  SealChain(ns_, PromptTokens(1, 2));
  EXPECT_EQ(store_->Match(ns_, PromptTokens(1, 2), 10).ram_blocks, 2);
  EXPECT_EQ(store_->stats().duplicate_seals, 0);
  EXPECT_EQ(store_->stats().disk_blocks, 2);
}

TEST_F(TieredStoreTest, NothingIsWrittenForRoomThatNobodyWantsAnyMore) {
  OpenWithDisk(8, 64);
  const NamespaceHandle wide = OpenNamespace(TestIdentity("wide", 6));  // three slots' worth
  std::vector<BlockRef> pins = SealChain(ns_, PromptTokens(1, 6));
  ASSERT_FALSE(store_->Allocate(wide).ok());  // and does not ask again
  const absl::Time later = absl::Now() + absl::Milliseconds(150);
  while (absl::Now() < later) std::this_thread::yield();
  pins.pop_back();
  // Each one waits for the demoter, the second until it has done all that it was woken up for.
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(store_->Invalidate(BlocksOfTenant{"nobody"}, absl::InfiniteFuture()).ok());
  }
  EXPECT_EQ(store_->stats().disk_blocks, 0) << "there is room";
}

TEST_F(TieredStoreTest, ANamespaceIsWrittenToDiskWithItsFirstBlock) {
  OpenWithDisk(8, 16);
  const NamespaceHandle other = OpenNamespace(TestIdentity("other"));
  SealChain(ns_, PromptTokens(1, 2));
  EXPECT_EQ(contents_->namespaces.size(), 0u);
  ASSERT_TRUE(store_->Demote().ok());
  EXPECT_EQ(contents_->namespaces.size(), 1u);
  EXPECT_TRUE(contents_->namespaces.contains(ns_.root));
  SealChain(other, PromptTokens(1, 2));
  ASSERT_TRUE(store_->Demote().ok());
  EXPECT_TRUE(contents_->namespaces.contains(other.root));
}

TEST_F(TieredStoreTest, BlocksOnDiskAreFoundAfterARestart) {
  OpenWithDisk(8, 16);
  SealChain(ns_, PromptTokens(1, 4));
  SealChain(ns_, PromptTokens(2, 4));
  ASSERT_TRUE(store_->Demote().ok());
  SealChain(ns_, PromptTokens(3, 2));
  OpenWithDisk(8, 16);
  EXPECT_EQ(store_->stats().recovered_blocks, 8);
  EXPECT_EQ(PinNow(ns_, PromptTokens(1, 4)).disk_blocks, 4);
  EXPECT_EQ(PinNow(ns_, PromptTokens(2, 4)).disk_blocks, 4);
  EXPECT_EQ(PinNow(ns_, PromptTokens(3, 2)).blocks.size(), 0u) << "was only in RAM";
}

TEST_F(TieredStoreTest, APinSaysWhereInTheArenaItsBytesLieAndTheirHash) {
  OpenRamOnly(4);
  const std::vector<TokenId> tokens = PromptTokens(1, 2);
  auto block = store_->Allocate(ns_);
  ASSERT_TRUE(block.ok()) << block.status();
  std::memset(block->bytes().data(), 1, block->bytes().size());
  const uint64_t hash = HashBytes64(block->bytes());
  const absl::Span<const TokenId> all = tokens;
  const BlockRef parent =
      store_->Seal(ns_, *std::move(block), ns_.root, all.first(kBlockTokens), hash);
  block = store_->Allocate(ns_);
  ASSERT_TRUE(block.ok()) << block.status();
  std::memset(block->bytes().data(), 2, block->bytes().size());
  const BlockRef child =
      store_->Seal(ns_, *std::move(block), parent.key(), all.subspan(kBlockTokens));
  PinTicket ticket = store_->Pin(ns_, tokens, 2, nullptr);
  ASSERT_TRUE(ticket.done());
  const PinnedPrefix pinned = ticket.Take();
  ASSERT_EQ(pinned.blocks.size(), 2u);
  EXPECT_EQ(pinned.blocks[0].payload_hash(), std::optional<uint64_t>(hash));
  EXPECT_EQ(parent.payload_hash(), std::optional<uint64_t>(hash));
  EXPECT_EQ(child.payload_hash(), std::nullopt);  // nobody took it
  const absl::Span<std::byte> arena = store_->ram_arena().bytes();
  for (const BlockRef& ref : pinned.blocks) {
    EXPECT_GE(ref.bytes().data(), arena.data());
    EXPECT_LE(ref.bytes().data() + ref.bytes().size(), arena.data() + arena.size());
  }
}

}  // namespace
}  // namespace reprise::cachestore
