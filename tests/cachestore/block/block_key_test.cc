#include "cachestore/block/block_key.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <iterator>
#include <numeric>
#include <set>

#include "absl/strings/escaping.h"
#include "cachestore/block/namespace_identity.h"

namespace reprise::cachestore {
namespace {

constexpr Hash128 kSecret = {0x0102030405060708u, 0x090a0b0c0d0e0f10u};

// The identity of the worked example in cachestore/README.md.
std::string ExampleIdentity() {
  NamespaceIdentity id;
  id.model_digest = "m";
  id.tokenizer_digest = "t";
  id.adapter_digest = "none";
  id.layout = {
      .num_layers = 2, .num_kv_heads = 1, .head_dim = 4, .block_tokens = 4, .dtype = DType::kF32};
  id.kv_scales = "none";
  id.position_scheme = "learned";
  return id.Encode();
}

// Computed independently with the reference implementation of XXH3 (the xxhash package of Python)
// from the byte strings in cachestore/README.md. They are persisted and must never change.
TEST(BlockKeyTest, GoldenVectors) {
  const BlockKey root = RootKey(kSecret, ExampleIdentity());
  EXPECT_EQ(root.ToHex(), "60cc72620fc5c4f951b116bdbbac2475");
  const BlockKey first = ChildKey(root, {1, 2, 3, 4});
  EXPECT_EQ(first.ToHex(), "9fb19e83fd0f52317ca83e5772e03175");
  const BlockKey second = ChildKey(first, {5, 6, 7, 8});
  EXPECT_EQ(second.ToHex(), "94ef6b4deb9f58a7111632a60d8072ac");
  std::vector<TokenId> many(1000);
  std::iota(many.begin(), many.end(), 100000);
  EXPECT_EQ(ChildKey(root, many).ToHex(), "1ce4259e83363e3b890c2e2d25913f1f");
}

TEST(BlockKeyTest, TheReadmeShowsTheseVectors) {
  std::ifstream in(std::string(REPRISE_SOURCE_DIR) + "/cachestore/README.md");
  std::string readme((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  const BlockKey root = RootKey(kSecret, ExampleIdentity());
  const BlockKey first = ChildKey(root, {1, 2, 3, 4});
  for (const BlockKey& key : {root, first, ChildKey(first, {5, 6, 7, 8})}) {
    EXPECT_NE(readme.find(key.ToHex()), std::string::npos) << key.ToHex();
  }
  // The encoding is shown in groups.
  readme.erase(std::remove_if(readme.begin(), readme.end(), [](char c) { return std::isspace(c); }),
               readme.end());
  EXPECT_NE(readme.find(absl::BytesToHexString(ExampleIdentity())), std::string::npos);
}

TEST(BlockKeyTest, ChainKeysNamesFullBlocksOnly) {
  const BlockKey root = RootKey(kSecret, ExampleIdentity());
  const std::vector<TokenId> tokens = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  const std::vector<BlockKey> keys = ChainKeys(root, tokens, 4);
  ASSERT_EQ(keys.size(), 2u);
  EXPECT_EQ(keys[0], ChildKey(root, {1, 2, 3, 4}));
  EXPECT_EQ(keys[1], ChildKey(keys[0], {5, 6, 7, 8}));
  EXPECT_TRUE(ChainKeys(root, {1, 2, 3}, 4).empty());
}

TEST(BlockKeyTest, ParentTokensAndTheirOrderDecide) {
  const BlockKey root = RootKey(kSecret, ExampleIdentity());
  const BlockKey other = RootKey({kSecret.hi, kSecret.lo + 1}, ExampleIdentity());
  std::set<BlockKey> keys = {root, other};
  EXPECT_TRUE(keys.insert(ChildKey(root, {1, 2})).second);
  EXPECT_TRUE(keys.insert(ChildKey(root, {2, 1})).second);
  EXPECT_TRUE(keys.insert(ChildKey(other, {1, 2})).second);
  EXPECT_TRUE(keys.insert(ChildKey(ChildKey(root, {1}), {2})).second);
  EXPECT_FALSE(keys.insert(ChildKey(root, {1, 2})).second);
}

TEST(BlockKeyTest, LargeBlocksHashTheSameOnAndOffTheStack) {
  // 512 tokens is the last size hashed from the stack; both sides of it agree with one hash of the
  // concatenated bytes.
  for (const size_t count : {511u, 512u, 513u, 4096u}) {
    std::vector<TokenId> tokens(count, 7);
    const BlockKey parent = {1, 2};
    std::vector<uint32_t> input = {1, 0, 2, 0};
    input.insert(input.end(), tokens.begin(), tokens.end());
    const Hash128 hash = HashBytes128(
        {reinterpret_cast<const std::byte*>(input.data()), input.size() * sizeof(uint32_t)});
    EXPECT_EQ(ChildKey(parent, tokens), (BlockKey{hash.hi, hash.lo})) << count;
  }
}

// Over the block sizes that are hashed in their own way, and more blocks than are hashed at a time.
TEST(BlockKeyTest, AChainIsItsLinksOneByOne) {
  std::vector<uint32_t> words(70'000);
  std::iota(words.begin(), words.end(), 1);
  for (const int32_t block_words : {1, 15, 16, 17, 32, 64, 512, 513, 1000}) {
    const std::vector<BlockKey> keys = ChainKeys({3, 4}, words, block_words);
    ASSERT_EQ(keys.size(), words.size() / block_words);
    BlockKey parent = {3, 4};
    for (size_t i = 0; i < keys.size(); ++i) {
      std::vector<uint32_t> input = {
          static_cast<uint32_t>(parent.hi), static_cast<uint32_t>(parent.hi >> 32),
          static_cast<uint32_t>(parent.lo), static_cast<uint32_t>(parent.lo >> 32)};
      input.insert(input.end(), words.begin() + i * block_words,
                   words.begin() + (i + 1) * block_words);
      const Hash128 hash = HashBytes128(
          {reinterpret_cast<const std::byte*>(input.data()), input.size() * sizeof(uint32_t)});
      ASSERT_EQ(keys[i], (BlockKey{hash.hi, hash.lo})) << i << " of " << block_words;
      parent = keys[i];
    }
  }
}

TEST(BlockKeyTest, HexHasThirtyTwoDigitsHighHalfFirst) {
  EXPECT_EQ((BlockKey{0xab, 1}).ToHex(), "00000000000000ab0000000000000001");
}

}  // namespace
}  // namespace reprise::cachestore
