#include "engine/tokenizer/byte_alphabet.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace reprise::engine {
namespace {

TEST(ByteAlphabetTest, EveryByteHasASpellingOfItsOwnThatLeadsBack) {
  std::set<std::string> spellings;
  for (int byte = 0; byte < 256; ++byte) {
    const std::string bytes(1, static_cast<char>(byte));
    const std::string spelling = ToByteAlphabet(bytes);
    spellings.insert(spelling);
    EXPECT_EQ(FromByteAlphabet(spelling), bytes);
  }
  EXPECT_EQ(spellings.size(), 256u);
}

TEST(ByteAlphabetTest, SpellsAsTokenizerFilesDo) {
  EXPECT_EQ(ToByteAlphabet("a b\n"),
            "a\xc4\xa0"
            "b\xc4\x8a");
  EXPECT_EQ(ToByteAlphabet("\xc3\xa9"), "\xc3\x83\xc2\xa9");
  EXPECT_EQ(ToByteAlphabet("\xad"), "\xc5\x83");
}

TEST(ByteAlphabetTest, CharactersOutsideOfTheAlphabetStandForNoBytes) {
  for (const char* text : {" ", "a b", "\n", "\xc2\xad", "\xc5\x84", "\xe2\x96\x81", "\xc3"}) {
    EXPECT_FALSE(FromByteAlphabet(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace reprise::engine
