#include "engine/text/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace reprise::engine {
namespace {

TEST(Utf8Test, WholeCharactersOfEveryLengthAreTaken) {
  const std::string text = "a\xc3\xa9\xe6\xb8\xaf\xf0\x9f\x9a\xa2";
  EXPECT_FALSE(FindInvalidUtf8(text).has_value());
  std::string copy;
  EXPECT_EQ(AppendCompleteUtf8(text, &copy), text.size());
  EXPECT_EQ(copy, text);
}

TEST(Utf8Test, FirstAndLastCharacterOfEveryLengthAreValid) {
  for (const char* text :
       {"\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
        "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_FALSE(FindInvalidUtf8(text).has_value());
  }
}

TEST(Utf8Test, OverlongFormsSurrogatesAndTooHighCodePointsAreInvalid) {
  for (const char* text :
       {"\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xed\xa0\x80", "\xed\xbf\xbf",
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\x80", "\xff"}) {
    EXPECT_EQ(FindInvalidUtf8(text), 0u) << text;
  }
}

TEST(Utf8Test, EachLongestStartOfACharacterBecomesOneReplacement) {
  std::string text;
  // A start of three bytes, a lone continuation, a surrogate (no start at all past its first byte).
  EXPECT_EQ(AppendCompleteUtf8("\xf0\x9f\x9a|\x80|\xed\xa0\x80|", &text), 10u);
  const std::string r(kReplacementCharacter);
  EXPECT_EQ(text, r + "|" + r + "|" + r + r + r + "|");
}

TEST(Utf8Test, IncompleteEndIsNotTaken) {
  for (const char* end : {"\xc3", "\xe6\xb8", "\xf0\x9f\x9a"}) {
    std::string text;
    EXPECT_EQ(AppendCompleteUtf8(std::string("a") + end, &text), 1u);
    EXPECT_EQ(text, "a");
  }
}

TEST(Utf8Test, CodePointsAreWrittenAsTheyAreRead) {
  for (const uint32_t code_point :
       {0x00u, 0x7fu, 0x80u, 0x7ffu, 0x800u, 0xd7ffu, 0xe000u, 0xffffu, 0x10000u, 0x10ffffu}) {
    std::string text;
    AppendUtf8(code_point, &text);
    const Utf8Step step = NextUtf8(text);
    EXPECT_EQ(step.kind, Utf8Kind::kCharacter) << code_point;
    EXPECT_EQ(step.num_bytes, text.size());
  }
  std::string text;
  for (const uint32_t code_point : {0x41u, 0xe9u, 0x20acu, 0x1f600u}) AppendUtf8(code_point, &text);
  EXPECT_EQ(text, "A\u00e9\u20ac\U0001f600");
}

}  // namespace
}  // namespace reprise::engine
