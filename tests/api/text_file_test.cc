#include "api/cli/text_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/fakes/temp_folder.h"

namespace reprise::api {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(TextFileTest, WrittenBytesAreReadBack) {
  const TempFolder folder;
  const std::string bytes("a\0b\n", 4);
  ASSERT_TRUE(WriteFile(folder / "f", bytes).ok());
  EXPECT_EQ(*ReadFile(folder / "f"), bytes);
}

TEST(TextFileTest, WhatCannotBeReadOrWrittenIsNamed) {
  const TempFolder folder;
  EXPECT_THAT(std::string(ReadFile(folder / "gone").status().message()),
              HasSubstr("gone: No such"));
  EXPECT_THAT(std::string(ReadFile(folder / "").status().message()), HasSubstr("directory"));
  EXPECT_THAT(std::string(WriteFile(folder / "no/such/folder", "x").message()),
              HasSubstr("no/such/folder"));
}

TEST(TextFileTest, TokenIdsMayBeAListOrAJsonArray) {
  const TempFolder folder;
  ASSERT_TRUE(WriteFile(folder / "list", "1 2\n3,4\t4294967295\r\n").ok());
  EXPECT_THAT(*ReadTokens(folder / "list"), ElementsAre(1, 2, 3, 4, 4294967295u));
  ASSERT_TRUE(WriteFile(folder / "json", "[5, 6]").ok());
  EXPECT_THAT(*ReadTokens(folder / "json"), ElementsAre(5, 6));
}

TEST(TextFileTest, WhatIsNoTokenIdIsQuoted) {
  const TempFolder folder;
  for (const char* word : {"x", "-1", "4294967296", "1.5"}) {
    ASSERT_TRUE(WriteFile(folder / "ids", std::string("1 ") + word).ok());
    EXPECT_THAT(std::string(ReadTokens(folder / "ids").status().message()),
                AllOf(HasSubstr("ids"), HasSubstr(std::string("\"") + word + "\"")));
  }
}

}  // namespace
}  // namespace reprise::api
