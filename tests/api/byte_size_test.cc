#include "api/cli/byte_size.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace reprise::api {
namespace {

TEST(ByteSizeTest, PlainNumbersAreBytes) {
  EXPECT_EQ(*ParseByteSize("0"), 0);
  EXPECT_EQ(*ParseByteSize("4096"), 4096);
  EXPECT_EQ(*ParseByteSize("9223372036854775807"), INT64_MAX);
}

TEST(ByteSizeTest, UnitsWithBAloneArePowersOf1000OthersOf1024) {
  EXPECT_EQ(*ParseByteSize("512MiB"), int64_t{512} << 20);
  EXPECT_EQ(*ParseByteSize("8GB"), int64_t{8000000000});
  EXPECT_EQ(*ParseByteSize("8G"), int64_t{8} << 30);
  EXPECT_EQ(*ParseByteSize("2ki"), 2048);
  EXPECT_EQ(*ParseByteSize("1tib"), int64_t{1} << 40);
  EXPECT_EQ(*ParseByteSize("7b"), 7);
}

TEST(ByteSizeTest, FractionsAndSpacesAreUnderstood) {
  EXPECT_EQ(*ParseByteSize("1.5 GiB"), int64_t{3} << 29);
  EXPECT_EQ(*ParseByteSize(" 0.5kb "), 500);
}

TEST(ByteSizeTest, WhatIsNotASizeIsQuoted) {
  for (const char* text : {"", "GiB", "-1", "1.5", "12parsecs", "1e3", "1..5k", "8 GB GB",
                           "9223372036854775808", "9000000TiB", "0x10"}) {
    const auto size = ParseByteSize(text);
    ASSERT_FALSE(size.ok()) << text;
    EXPECT_NE(size.status().message().find(std::string("\"") + text + "\""), std::string::npos);
  }
}

TEST(ByteSizeTest, FormattedSizesParseToTheSameValue) {
  EXPECT_EQ(FormatByteSize(int64_t{1} << 30), "1GiB");
  EXPECT_EQ(FormatByteSize(1000), "1000");
  for (const int64_t bytes : {int64_t{0}, int64_t{1}, int64_t{1536}, int64_t{8000000000}}) {
    EXPECT_EQ(*ParseByteSize(FormatByteSize(bytes)), bytes);
  }
}

}  // namespace
}  // namespace reprise::api
