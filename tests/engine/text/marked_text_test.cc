#include "engine/text/marked_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

namespace reprise::engine {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// Upper-case letters are plain.
MarkedText Marked(absl::string_view text) {
  MarkedText marked;
  for (const char& c : text) {
    if (c >= 'A' && c <= 'Z') {
      marked.AppendPlain({&c, 1});
    } else {
      marked.AppendOwn({&c, 1});
    }
  }
  return marked;
}

TEST(MarkedTextTest, NeighbouringPlainBytesAreOneRange) {
  EXPECT_THAT(Marked("abCDeF").plain(), ElementsAre(TextRange{2, 4}, TextRange{5, 6}));
  EXPECT_THAT(MarkedText("ABC").plain(), IsEmpty());
  EXPECT_THAT(MarkedText::Plain("abc").plain(), ElementsAre(TextRange{0, 3}));
  EXPECT_THAT(MarkedText::Plain("").plain(), IsEmpty());
  MarkedText joined = Marked("aB");
  joined.Append(Marked("Cd"));
  EXPECT_EQ(joined.text(), "aBCd");
  EXPECT_THAT(joined.plain(), ElementsAre(TextRange{1, 3}));
}

TEST(MarkedTextTest, MarksFollowTheirBytesThroughSlices) {
  std::mt19937 random(5);
  int num_touching = 0;
  for (int i = 0; i < 2000; ++i) {
    std::string text;
    for (uint32_t left = random() % 12; left > 0; --left) {
      text += static_cast<char>((random() % 2 == 0 ? 'a' : 'A') + random() % 26);
    }
    const MarkedText whole = Marked(text);
    const size_t begin = random() % (text.size() + 1);
    const size_t end = begin + random() % (text.size() + 1 - begin);
    const MarkedText slice = whole.Slice({begin, end});
    const MarkedText expected = Marked(text.substr(begin, end - begin));
    EXPECT_EQ(slice.text(), expected.text());
    EXPECT_EQ(slice.plain(), expected.plain()) << text << " " << begin << " " << end;
    if (begin == end) continue;
    EXPECT_EQ(whole.TouchesPlain({begin, end}), !expected.plain().empty());
    EXPECT_EQ(whole.IsPlain({begin, end}),
              slice.plain() == MarkedText::Plain(slice.text()).plain());
    num_touching += whole.TouchesPlain({begin, end}) ? 1 : 0;
  }
  EXPECT_GT(num_touching, 500);
}

}  // namespace
}  // namespace reprise::engine
