// Namespaces whose blocks are named by keys that the caller brings.
#include <gtest/gtest.h>

#include <vector>

#include "tests/fakes/store_fixture.h"

namespace reprise::cachestore {
namespace {

// The keys of the blocks of prompt `prompt`.
std::vector<ExternalKey> PromptKeys(uint32_t prompt, uint32_t num_blocks) {
  std::vector<ExternalKey> keys(num_blocks);
  for (uint32_t i = 0; i < num_blocks; ++i) keys[i].words = {prompt, i, 0, 0, 0, 0, 0, ~i};
  return keys;
}

class ExternalKeysTest : public StoreFixture {
 protected:
  void Open(int64_t ram_slots, int64_t disk_slots) {
    OpenWithDisk(ram_slots, disk_slots);
    NamespaceIdentity identity = TestIdentity();
    identity.key_source = KeySource::kExternal;
    external_ = OpenNamespace(identity);
  }
  std::vector<BlockRef> SealKeys(const std::vector<ExternalKey>& keys) {
    std::vector<BlockRef> refs;
    for (const ExternalKey& key : keys) {
      refs.push_back(SealOne(external_, refs.empty() ? external_.root : refs.back().key(),
                             absl::MakeConstSpan(&key, 1)));
    }
    return refs;
  }
  int64_t Matched(const std::vector<ExternalKey>& keys) {
    return store_->Match(external_, keys, 100).total_blocks();
  }

  NamespaceHandle external_;
};

TEST_F(ExternalKeysTest, BlocksAreFoundByTheKeysOfTheirWholePrefix) {
  Open(16, 16);
  const std::vector<ExternalKey> keys = PromptKeys(1, 4);
  SealKeys(keys);
  EXPECT_EQ(Matched(keys), 4);
  EXPECT_EQ(PinNow(external_, keys).ram_blocks, 4);
  EXPECT_EQ(Matched(PromptKeys(2, 4)), 0);
  // Keys are counted as the tokens they stand for.
  EXPECT_EQ(store_->stats().hit_ram_tokens, 4 * kBlockTokens);
  ExpectLookupsAreConserved();
}

TEST_F(ExternalKeysTest, OneBitMakesAnotherBlock) {
  Open(16, 16);
  const std::vector<ExternalKey> keys = PromptKeys(1, 1);
  SealKeys(keys);
  for (size_t bit = 0; bit < 256; ++bit) {
    std::vector<ExternalKey> other = keys;
    other[0].words[bit / 32] ^= 1u << bit % 32;
    ASSERT_EQ(Matched(other), 0) << "bit " << bit;
  }
  EXPECT_EQ(Matched(keys), 1);
}

TEST_F(ExternalKeysTest, TheSameKeyAfterAnotherParentIsAnotherBlock) {
  Open(16, 16);
  const std::vector<ExternalKey> keys = PromptKeys(1, 2);
  const std::vector<ExternalKey> twice = {keys[0], keys[0], keys[1]};
  const std::vector<BlockRef> refs = SealKeys(twice);
  EXPECT_NE(refs[0].key(), refs[1].key());
  EXPECT_EQ(store_->stats().ram_blocks, 3);
  EXPECT_EQ(Matched(twice), 3);
  EXPECT_EQ(Matched(keys), 1) << "the second key is cached behind two blocks only";
}

TEST_F(ExternalKeysTest, KeysAndTokensOfOneIdentityNeverAlias) {
  NamespaceIdentity identity = TestIdentity();
  identity.layout.block_tokens = 8;  // as many words as an external key
  OpenWithDisk(16, 16);
  const NamespaceHandle by_tokens = OpenNamespace(identity);
  identity.key_source = KeySource::kExternal;
  external_ = OpenNamespace(identity);
  EXPECT_NE(by_tokens.root, external_.root);
  const std::vector<ExternalKey> keys = PromptKeys(1, 1);
  const std::vector<TokenId> tokens(keys[0].words.begin(), keys[0].words.end());
  SealKeys(keys);
  EXPECT_EQ(store_->Match(by_tokens, tokens, 10).total_blocks(), 0);
  SealOne(by_tokens, by_tokens.root, tokens);
  EXPECT_EQ(store_->stats().ram_blocks, 2);
  EXPECT_EQ(store_->stats().duplicate_seals, 0);
}

TEST_F(ExternalKeysTest, BlocksComeBackFromDiskAfterARestart) {
  Open(8, 16);
  const std::vector<ExternalKey> keys = PromptKeys(1, 6);
  SealKeys(keys);
  SealChain(ns_, PromptTokens(1, 2));
  ASSERT_TRUE(store_->Demote().ok());
  Open(8, 16);
  EXPECT_EQ(store_->stats().recovered_blocks, 8);
  EXPECT_EQ(PinNow(external_, keys).disk_blocks, 6);
  EXPECT_EQ(PinNow(ns_, PromptTokens(1, 2)).disk_blocks, 2);
}

using ExternalKeysDeathTest = ExternalKeysTest;

TEST_F(ExternalKeysDeathTest, TokensInANamespaceOfKeysAreMisuse) {
  Open(8, 8);
  EXPECT_DEATH(store_->Match(external_, PromptTokens(1, 2), 10), "source");
  EXPECT_DEATH(store_->Match(ns_, PromptKeys(1, 2), 10), "source");
}

}  // namespace
}  // namespace reprise::cachestore
