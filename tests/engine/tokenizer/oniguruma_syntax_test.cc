#include "engine/tokenizer/oniguruma_syntax.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/tokenizer/split_pattern.h"

namespace reprise::engine {
namespace {

std::vector<std::string> Matches(absl::string_view pattern, absl::string_view text) {
  const auto compiled = SplitPattern::Compile(pattern);
  EXPECT_TRUE(compiled.ok()) << compiled.status();
  std::vector<TextRange> ranges;
  const absl::Status found = compiled->FindAll(text, &ranges);
  EXPECT_TRUE(found.ok()) << found;
  std::vector<std::string> matches;
  for (const TextRange& range : ranges) {
    matches.emplace_back(text.substr(range.begin, range.end - range.begin));
  }
  return matches;
}

using testing::ElementsAre;

TEST(OnigurumaSyntaxTest, WhiteSpaceIsThatOfUnicode) {
  EXPECT_THAT(Matches("\\s", "a\xc2\xa0 \xe3\x80\x80\xc2\x85"),
              ElementsAre("\xc2\xa0", " ", "\xe3\x80\x80", "\xc2\x85"));
  // U+180E was white space once and still is to PCRE2's own \s.
  EXPECT_THAT(Matches("\\s|[\\s]", "\xe1\xa0\x8e"), ElementsAre());
  EXPECT_THAT(Matches("[^\\S]", "a b"), ElementsAre(" "));
}

TEST(OnigurumaSyntaxTest, CaselessGroupsFoldUnicode) {
  EXPECT_THAT(Matches("(?i:'s|'t)", "'s 'S '\xc5\xbf 'T s"),
              ElementsAre("'s", "'S", "'\xc5\xbf", "'T"));
  EXPECT_THAT(Matches("'s|'t", "'s 'S 'T"), ElementsAre("'s"));
}

TEST(OnigurumaSyntaxTest, LookaheadLeavesTheLastSpaceToTheWord) {
  EXPECT_THAT(Matches("\\s+(?!\\S)|\\s+", "a   b  "), ElementsAre("  ", " ", "  "));
}

TEST(OnigurumaSyntaxTest, WordAndHexDigitSetsWorkInsideAndOutsideOfClasses) {
  EXPECT_THAT(Matches("\\w+",
                      "r\xc3\xa9"
                      "e\xcc\x81_1 -"),
              ElementsAre("r\xc3\xa9"
                          "e\xcc\x81_1"));
  EXPECT_THAT(Matches("[\\w-]+", "a-b c"), ElementsAre("a-b", "c"));
  EXPECT_THAT(Matches("\\W", "a-b"), ElementsAre("-"));
  EXPECT_THAT(Matches("\\h+", "1f x"), ElementsAre("1f"));
  EXPECT_THAT(Matches("\\H", "1fx"), ElementsAre("x"));
}

TEST(OnigurumaSyntaxTest, CodePointsAndVerticalTabKeepTheirMeaning) {
  EXPECT_THAT(Matches("\\u00e9|\\x{6e2f}|\\x41",
                      "\xc3\xa9\xe6\xb8\xaf"
                      "A"),
              ElementsAre("\xc3\xa9", "\xe6\xb8\xaf", "A"));
  EXPECT_THAT(Matches("\\v", "\n\x0b\xe2\x80\xa8"), ElementsAre("\x0b"));
}

TEST(OnigurumaSyntaxTest, IntervalsMayLeaveOutTheLowerEnd) {
  EXPECT_THAT(Matches("a{,2}b", "aab b"), ElementsAre("aab", "b"));
  EXPECT_THAT(Matches("\\p{N}{1,3}", "12345"), ElementsAre("123", "45"));
}

TEST(OnigurumaSyntaxTest, LineEndsMatchAtEveryLine) {
  EXPECT_THAT(Matches("^a$", "a\nb\na"), ElementsAre("a", "a"));
}

TEST(OnigurumaSyntaxTest, EmptyMatchesMoveOnByACharacter) {
  EXPECT_THAT(Matches("b*",
                      "\xc3\xa9"
                      "bb"),
              ElementsAre("", "bb"));
}

TEST(OnigurumaSyntaxTest, LazyIntervalsTakeTheLeast) {
  EXPECT_THAT(Matches("a{1,2}?", "aaa"), ElementsAre("a", "a", "a"));
  EXPECT_THAT(Matches("a{2,}?", "aaaa"), ElementsAre("aa", "aa"));
}

TEST(SplitPatternTest, EmptyMatchesCountUnlessTheyEndTheMatchBefore) {
  const auto compiled = SplitPattern::Compile("\\d*");
  ASSERT_TRUE(compiled.ok()) << compiled.status();
  std::vector<TextRange> ranges;
  ASSERT_TRUE(compiled->FindAll("a1bbb2", &ranges).ok());
  EXPECT_THAT(ranges, ElementsAre(TextRange{0, 0}, TextRange{1, 2}, TextRange{3, 3},
                                  TextRange{4, 4}, TextRange{5, 6}));
}

TEST(OnigurumaSyntaxTest, WhatPcre2WouldReadDifferentlyIsRefusedWithItsOffset) {
  for (const char* pattern :
       {"a\\b", "a\\Kb", "a(?i)b", "(?m:.)", "(?<n>a)", "(*VERB)", "[a[bc]]", "[a&&b]", "[\\W]",
        "[\\H]", "\\xff", "\\u12", "\\pL", "\\p{L", "(a)\\1", "a{1,2}+", "a{2}?", "\\R", "\\"}) {
    const auto translated = OnigurumaToPcre2(pattern);
    ASSERT_EQ(translated.status().code(), absl::StatusCode::kInvalidArgument) << pattern;
    EXPECT_THAT(std::string(translated.status().message()), testing::HasSubstr("at offset"));
  }
}

TEST(SplitPatternTest, LiteralsHaveNoSpecialCharacters) {
  const auto compiled = SplitPattern::CompileLiteral("a.\\E|(");
  ASSERT_TRUE(compiled.ok()) << compiled.status();
  std::vector<TextRange> ranges;
  ASSERT_TRUE(compiled->FindAll("ab a.\\E|( a", &ranges).ok());
  EXPECT_THAT(ranges, ElementsAre(TextRange{3, 9}));
}

TEST(SplitPatternTest, DeepBacktrackingEndsInAnAnswer) {
  // Each repetition of a group takes stack; there must be enough of it, or an error, no crash.
  const auto compiled = SplitPattern::Compile("(?:a|b)*c");
  ASSERT_TRUE(compiled.ok()) << compiled.status();
  std::vector<TextRange> ranges;
  const std::string text = std::string(100000, 'a') + "c";
  ASSERT_TRUE(compiled->FindAll(text, &ranges).ok());
  EXPECT_THAT(ranges, ElementsAre(TextRange{0, text.size()}));
}

}  // namespace
}  // namespace reprise::engine
