// List, Walk and Usage: what the store tells of the blocks that it holds.
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "tests/fakes/store_fixture.h"
#include "tests/fakes/test_seed.h"

namespace reprise::cachestore {
namespace {

class BlockListTest : public StoreFixture {
 protected:
  // All pages, each of about `page_size` blocks.
  std::vector<ListedBlock> ListAll(ListRequest request, size_t page_size) {
    std::vector<ListedBlock> blocks;
    request.max_blocks = page_size;
    while (request.cursor != kEndOfList) {
      ListPage page = store_->List(request);
      for (ListedBlock& block : page.blocks) blocks.push_back(std::move(block));
      EXPECT_GT(page.cursor, request.cursor);
      request.cursor = page.cursor;
    }
    return blocks;
  }
  // Ends a walk; each block must come after its parent, and once.
  std::vector<ListedBlock> WalkAll(const WalkScope& scope, const BlockKey& first_parent) {
    std::vector<ListedBlock> blocks;
    std::set<BlockKey> seen = {first_parent};
    const std::unique_ptr<BlockWalk> walk = store_->Walk(scope);
    for (size_t size = 1;; size = size % 5 + 1) {
      std::vector<ListedBlock> some = walk->Next(size);
      if (some.empty()) return blocks;
      EXPECT_LE(some.size(), size);
      for (ListedBlock& block : some) {
        EXPECT_TRUE(seen.contains(block.parent));
        EXPECT_TRUE(seen.insert(block.key).second) << "came twice";
        blocks.push_back(std::move(block));
      }
    }
  }
};

TEST_F(BlockListTest, ABlockIsListedWithItsChainItsTiersAndItsPins) {
  OpenWithDisk(8, 8);
  const std::vector<TokenId> tokens = PromptTokens(1, 3);
  const std::vector<BlockKey> keys = ChainKeys(ns_.root, tokens, kBlockTokens);
  SealChain(ns_, tokens);
  ASSERT_TRUE(store_->Demote().ok());
  const PinnedPrefix pinned = PinNow(ns_, absl::MakeSpan(tokens).first(2 * kBlockTokens));
  std::map<BlockKey, ListedBlock> listed;
  for (ListedBlock& block : ListAll({.scope = AllBlocks{}, .with_words = true}, 2)) {
    const BlockKey key = block.key;
    listed[key] = std::move(block);
  }
  ASSERT_EQ(listed.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    const ListedBlock& block = listed.at(keys[i]);
    EXPECT_EQ(block.parent, i == 0 ? ns_.root : keys[i - 1]);
    EXPECT_EQ(block.namespace_id, ns_.id);
    EXPECT_EQ(block.depth, static_cast<int64_t>(i));
    EXPECT_EQ(block.bytes, static_cast<int64_t>(ns_.layout.BytesPerBlock()));
    EXPECT_EQ(block.tiers, TierSet(false, i < 2, true));
    EXPECT_EQ(block.pins, i < 2 ? 1 : 0);
    EXPECT_EQ(block.words,
              std::vector<uint32_t>(tokens.begin() + static_cast<int64_t>(i) * kBlockTokens,
                                    tokens.begin() + static_cast<int64_t>(i + 1) * kBlockTokens));
    ASSERT_TRUE(store_->FindBlock(keys[i]).has_value());
    EXPECT_EQ(store_->FindBlock(keys[i])->words, block.words);
  }
  EXPECT_FALSE(store_->FindBlock({1, 2}).has_value());
}

TEST_F(BlockListTest, ScopesAreKeptToAndUsageAgrees) {
  OpenWithDisk(64, 64);
  const std::vector<NamespaceHandle> namespaces = {ns_, OpenNamespace(TestIdentity("second")),
                                                   OpenNamespace(TestIdentity("second", 6)),
                                                   OpenNamespace(TestIdentity("third"))};
  for (uint32_t i = 0; i < 4; ++i) SealChain(namespaces[i], PromptTokens(i, 2 + i));
  ASSERT_TRUE(store_->Demote().ok());
  PinNow(ns_, PromptTokens(0, 2));
  EXPECT_EQ(ListAll({.scope = AllBlocks{}}, 3).size(), 14u);
  EXPECT_EQ(ListAll({.scope = BlocksOfTenant{"second"}}, 3).size(), 7u);
  EXPECT_EQ(ListAll({.scope = BlocksOfNamespace{namespaces[3]}}, 3).size(), 5u);
  EXPECT_TRUE(ListAll({.scope = BlocksOfTenant{"fourth"}}, 3).empty());
  const std::vector<NamespaceUsage> usage = store_->Usage();
  ASSERT_EQ(usage.size(), 4u);
  int64_t disk_bytes = 0;
  for (uint32_t i = 0; i < 4; ++i) {
    EXPECT_EQ(usage[i].name.id, i);
    EXPECT_EQ(usage[i].name.root, namespaces[i].root);
    EXPECT_EQ(usage[i].tiers[2].blocks, 2 + i);
    disk_bytes += usage[i].tiers[2].bytes;
  }
  EXPECT_EQ(usage[2].name.tenant, "second");
  EXPECT_EQ(NamespaceIdentity::Decode(usage[2].name.identity)->tenant, "second");
  EXPECT_EQ(disk_bytes, store_->stats().disk_used_bytes);
  {
    const absl::StatusOr<WritableBlock> writing = store_->Allocate(namespaces[3]);
    ASSERT_TRUE(writing.ok());
    EXPECT_EQ(store_->Usage()[3].tiers[1].blocks, 0);
    EXPECT_EQ(store_->Usage()[3].tiers[1].bytes, kSlotBytes);
  }
  EXPECT_EQ(usage[0].tiers[1].blocks, 2);
  EXPECT_EQ(usage[0].tiers[1].bytes, store_->stats().ram_used_bytes);
  EXPECT_EQ(usage[3].tiers[1].blocks, 0);
}

TEST_F(BlockListTest, AWalkTellsParentsBeforeTheirChildrenAndKeepsToItsScope) {
  OpenRamOnly(64);
  const NamespaceHandle other = OpenNamespace(TestIdentity("other"));
  SealChain(other, PromptTokens(1, 3));
  // A tree: two prompts that share three blocks, one of its own.
  std::vector<TokenId> left = PromptTokens(1, 6);
  std::vector<TokenId> right = left;
  for (size_t i = 3 * kBlockTokens; i < right.size(); ++i) right[i] += 7;
  SealChain(ns_, left);
  SealChain(ns_, right);
  SealChain(ns_, PromptTokens(2, 2));
  const std::vector<BlockKey> keys = ChainKeys(ns_.root, left, kBlockTokens);
  const std::vector<ListedBlock> all = WalkAll(BlocksOfNamespace{ns_}, ns_.root);
  EXPECT_EQ(all.size(), 6u + 3 + 2);
  for (const ListedBlock& block : all) EXPECT_EQ(block.words.size(), size_t{kBlockTokens});
  left.resize(3 * kBlockTokens);
  const std::vector<ListedBlock> below = WalkAll(BlocksBelow{ns_, left}, keys[1]);
  EXPECT_EQ(below.size(), 1u + 3 + 3);
  EXPECT_EQ(below[0].key, keys[2]);
  left[0] += 9;
  EXPECT_TRUE(store_->Walk(BlocksBelow{ns_, left})->Next(10).empty()) << "not in the store";
  EXPECT_EQ(store_->stats().pinned_blocks, 0);
}

TEST_F(BlockListTest, AWalkGoesOnWhereItsPlaceHasBeenTakenAway) {
  OpenRamOnly(64);
  for (uint32_t prompt = 0; prompt < 12; ++prompt) SealChain(ns_, PromptTokens(prompt, 2));
  const std::unique_ptr<BlockWalk> walk = store_->Walk(BlocksOfNamespace{ns_});
  ASSERT_EQ(walk->Next(5).size(), 5u);
  ASSERT_TRUE(store_->Invalidate(BlocksOfNamespace{ns_}, absl::InfiniteFuture()).ok());
  SealChain(ns_, PromptTokens(100, 2));  // before the place where the walk is
  EXPECT_TRUE(walk->Next(5).empty());
}

// Blocks that stay are told by every list, whatever comes and goes beside them, and none is told
// twice.
TEST_F(BlockListTest, ListsBesideTrafficMissNothingThatStaysAndTellNothingTwice) {
  const uint32_t seed = TestSeed();
  OpenWithDisk(80, 160);
  const std::vector<BlockRef> staying = SealChain(ns_, PromptTokens(1, 40));
  std::atomic<bool> stop = false;
  std::vector<std::thread> clients;
  for (uint32_t i = 0; i < 2; ++i) {
    clients.emplace_back([&, i] {
      std::mt19937 random(seed + i);
      while (!stop) {
        const auto prompt = static_cast<uint32_t>(2 + random() % 40);
        SealChain(ns_, PromptTokens(prompt, 1 + static_cast<int64_t>(random() % 6)));
      }
    });
  }
  const auto removed = [this] { return store_->stats().removed_blocks[0][1]; };
  const absl::Time deadline = absl::Now() + absl::Seconds(60);
  for (int round = 0; round < 60 || (removed() < 500 && absl::Now() < deadline); ++round) {
    std::set<BlockKey> seen;
    const std::vector<ListedBlock> blocks = round % 2 == 0
                                                ? ListAll({.scope = BlocksOfNamespace{ns_}}, 11)
                                                : WalkAll(BlocksOfNamespace{ns_}, ns_.root);
    for (const ListedBlock& block : blocks) EXPECT_TRUE(seen.insert(block.key).second);
    for (const BlockRef& ref : staying) EXPECT_TRUE(seen.contains(ref.key()));
  }
  stop = true;
  for (std::thread& client : clients) client.join();
  EXPECT_GE(removed(), 500) << "blocks came and went";
}

}  // namespace
}  // namespace reprise::cachestore
