#include "cachestore/block/block_content.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "absl/strings/escaping.h"

namespace reprise::cachestore {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kHex[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

TEST(ExternalKeyTest, HexAndBytesNameTheSameKey) {
  const absl::StatusOr<ExternalKey> key = ExternalKey::FromHex(kHex);
  ASSERT_TRUE(key.ok()) << key.status();
  EXPECT_EQ(key->ToHex(), kHex);
  EXPECT_EQ(key->ToBytes(), absl::HexStringToBytes(kHex));
  EXPECT_EQ(*ExternalKey::FromBytes(key->ToBytes()), *key);
  EXPECT_THAT(key->words, ElementsAre(0x03020100, 0x07060504, 0x0b0a0908, 0x0f0e0d0c, 0x13121110,
                                      0x17161514, 0x1b1a1918, 0x1f1e1d1c));
}

TEST(ExternalKeyTest, AnythingElseIsRefused) {
  EXPECT_THAT(std::string(ExternalKey::FromBytes("short").status().message()),
              HasSubstr("has 32 bytes, not 5"));
  EXPECT_THAT(std::string(ExternalKey::FromHex("00").status().message()),
              HasSubstr("64 hex digits, not 2"));
  std::string hex = kHex;
  hex[63] = 'g';
  EXPECT_THAT(std::string(ExternalKey::FromHex(hex).status().message()),
              HasSubstr("is not an external key in hex digits"));
}

TEST(BlockContentTest, TokensAndKeysAreWords) {
  const std::vector<TokenId> tokens = {7, 8, 9};
  const BlockContent by_tokens(tokens);
  EXPECT_EQ(by_tokens.source(), KeySource::kTokens);
  EXPECT_THAT(by_tokens.words(), ElementsAre(7, 8, 9));
  std::vector<ExternalKey> keys(2);
  keys[0].words = {1, 2, 3, 4, 5, 6, 7, 8};
  keys[1].words = {9, 10, 11, 12, 13, 14, 15, 16};
  const BlockContent by_keys(keys);
  EXPECT_EQ(by_keys.source(), KeySource::kExternal);
  EXPECT_THAT(by_keys.words(), ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16));
}

}  // namespace
}  // namespace reprise::cachestore
