// Stores whose block keys come from bad hash functions: blocks with different contents share keys,
// and no lookup ever returns the bytes of another one.
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "tests/fakes/store_fixture.h"
#include "tests/fakes/test_seed.h"

namespace reprise::cachestore {
namespace {

// Few keys for many blocks.
BlockKey OneOfFewKeys(const BlockKey& parent, absl::Span<const uint32_t> words) {
  return {0, ChildKey(parent, words).lo % 61 + 1};
}

// Every second block has the key of its parent, which may be that of the root.
BlockKey OftenTheParentsKey(const BlockKey& parent, absl::Span<const uint32_t> words) {
  return words[0] % 2 == 0 ? parent : ChildKey(parent, words);
}

class KeyCollisionTest : public StoreFixture {
 protected:
  // One to five blocks, each of three contents.
  static std::vector<TokenId> RandomPrompt(std::mt19937& random) {
    std::vector<TokenId> tokens;
    for (size_t blocks = 1 + random() % 5; blocks > 0; --blocks) {
      tokens.insert(tokens.end(), kBlockTokens, static_cast<TokenId>(random() % 3));
    }
    return tokens;
  }

  // Pins what is cached of `prompt`, seals the rest, and checks every byte against what the prompt
  // says, whatever the keys are.
  void Use(const std::vector<TokenId>& prompt) {
    const std::vector<BlockKey> true_keys = ChainKeys(ns_.root, prompt, kBlockTokens);
    PinTicket ticket = store_->Pin(ns_, prompt, 100, nullptr);
    ASSERT_TRUE(ticket.Wait(absl::Now() + absl::Seconds(60)));
    std::vector<BlockRef> refs = std::move(ticket.Take().blocks);
    while (refs.size() < true_keys.size()) {
      absl::StatusOr<WritableBlock> block = store_->Allocate(ns_);
      if (!block.ok()) {
        store_->AwaitRoom(ns_, absl::Now() + absl::Seconds(20));
        continue;
      }
      FillPayload(true_keys[refs.size()], block->bytes());
      const BlockKey parent = refs.empty() ? ns_.root : refs.back().key();
      refs.push_back(store_->Seal(
          ns_, *std::move(block), parent,
          absl::MakeConstSpan(prompt).subspan(refs.size() * kBlockTokens, kBlockTokens)));
    }
    for (size_t i = 0; i < refs.size(); ++i) {
      ASSERT_TRUE(PayloadIsRight(true_keys[i], refs[i].bytes())) << "block " << i;
    }
  }

  void UseManyPrompts(KeyDeriver derive) {
    std::mt19937 random(TestSeed());
    derive_ = derive;
    int64_t collisions = 0;
    int64_t disk_hits = 0;
    for (int restart = 0; restart < 4; ++restart) {
      OpenWithDisk(24, 40);
      EXPECT_EQ(store_->stats().recovered_blocks > 0, restart > 0);
      for (int i = 0; i < 300; ++i) {
        Use(RandomPrompt(random));
        if (random() % 20 == 0) {
          ASSERT_TRUE(store_->Demote().ok());
        }
      }
      EXPECT_EQ(store_->CheckIntegrity(), absl::OkStatus());
      ExpectLookupsAreConserved();
      ASSERT_TRUE(store_->Demote().ok());
      collisions += store_->stats().missed_collision_tokens;
      disk_hits += store_->stats().hit_disk_tokens;
    }
    EXPECT_GT(collisions, 100 * kBlockTokens);
    EXPECT_GT(disk_hits, 100 * kBlockTokens);
  }
};

TEST_F(KeyCollisionTest, FewKeysForManyBlocksAreCountedMisses) { UseManyPrompts(OneOfFewKeys); }

TEST_F(KeyCollisionTest, KeysOfParentsAndRootsAreCountedMisses) {
  derive_ = OftenTheParentsKey;
  const std::vector<TokenId> odd(kBlockTokens, 1);
  OpenRamOnly(16);
  // Its key is the root's: were it taken for the root, `odd` would be found as a first block.
  const std::vector<TokenId> even(kBlockTokens, 0);
  const BlockRef impostor = SealOne(ns_, ns_.root, even);
  ASSERT_EQ(impostor.key(), ns_.root);
  const BlockRef child = SealOne(ns_, impostor.key(), odd);
  EXPECT_EQ(store_->Match(ns_, odd, 10).total_blocks(), 0);
  EXPECT_EQ(store_->Match(ns_, even, 10).total_blocks(), 0);
}

TEST_F(KeyCollisionTest, OneCollisionIsOneCountedMiss) {
  derive_ = [](const BlockKey&, absl::Span<const uint32_t>) { return BlockKey{7, 7}; };
  OpenWithDisk(8, 8);
  const auto expect_miss = [&](int64_t collisions) {
    EXPECT_EQ(store_->Match(ns_, PromptTokens(2, 3), 10).total_blocks(), 0);
    EXPECT_EQ(PinNow(ns_, PromptTokens(2, 3)).blocks.size(), 0u);
    EXPECT_EQ(store_->stats().missed_collision_tokens, collisions * kBlockTokens);
    ExpectLookupsAreConserved();
  };
  SealOne(ns_, ns_.root, PromptTokens(1, 1));
  expect_miss(1);
  ASSERT_TRUE(store_->Demote().ok());
  expect_miss(2);
  OpenWithDisk(8, 8);
  EXPECT_EQ(store_->Match(ns_, PromptTokens(1, 1), 10).disk_blocks, 1);
  expect_miss(1);
  // The other block stays private; the first one stays what it is.
  const BlockRef other = SealOne(ns_, ns_.root, PromptTokens(2, 1));
  EXPECT_EQ(store_->Match(ns_, PromptTokens(2, 1), 10).total_blocks(), 0);
  EXPECT_EQ(store_->Match(ns_, PromptTokens(1, 1), 10).disk_blocks, 1);
}

}  // namespace
}  // namespace reprise::cachestore
