#include "cachestore/base/hash.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace reprise::cachestore {
namespace {

absl::Span<const std::byte> Bytes(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

// Values of the XXH3 specification; they are persisted and must never change.
TEST(HashTest, EqualsThePublishedValuesOfTheEmptyInput) {
  EXPECT_EQ(HashBytes64({}), 0x2d06800538d394c2u);
  EXPECT_EQ(HashBytes128({}), (Hash128{0x99aa06d3014798d8u, 0x6001c324468d497fu}));
}

TEST(HashTest, OneFlippedBitChangesBothHashes) {
  std::string text(5000, 'k');
  const Hash128 before128 = HashBytes128(Bytes(text));
  const uint64_t before64 = HashBytes64(Bytes(text));
  EXPECT_EQ(HashBytes128(Bytes(text)), before128);
  text[2500] ^= 1;
  EXPECT_FALSE(HashBytes128(Bytes(text)) == before128);
  EXPECT_NE(HashBytes64(Bytes(text)), before64);
}

}  // namespace
}  // namespace reprise::cachestore
