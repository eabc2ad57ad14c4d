#include "engine/run/stop_filter.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace reprise::engine {
namespace {

TEST(StopFilterTest, WithoutStopStringsTextPassesAtOnce) {
  StopFilter filter({});
  EXPECT_EQ(filter.Push("hello"), "hello");
  EXPECT_EQ(filter.Finish(), "");
  EXPECT_FALSE(filter.stopped());
}

TEST(StopFilterTest, NothingFromTheStopStringOnPasses) {
  StopFilter filter({"STOP"});
  EXPECT_EQ(filter.Push("one STOP two"), "one ");
  EXPECT_TRUE(filter.stopped());
  EXPECT_EQ(filter.Finish(), "");
}

TEST(StopFilterTest, AStopStringInPiecesIsFound) {
  StopFilter filter({"\nUser:"});
  EXPECT_EQ(filter.Push("fine.\n"), "fine.");
  EXPECT_EQ(filter.Push("Us"), "");
  EXPECT_EQ(filter.Push("er"), "");
  EXPECT_FALSE(filter.stopped());
  EXPECT_EQ(filter.Push(": next"), "");
  EXPECT_TRUE(filter.stopped());
}

TEST(StopFilterTest, TextIsHeldBackOnlyWhileItMayBeAStopString) {
  StopFilter filter({"abc"});
  EXPECT_EQ(filter.Push("xa"), "x");
  EXPECT_EQ(filter.Push("b"), "");
  EXPECT_EQ(filter.Push("d"), "abd");
  EXPECT_EQ(filter.Push("aab"), "a");
  EXPECT_EQ(filter.Finish(), "ab");
  EXPECT_FALSE(filter.stopped());
}

TEST(StopFilterTest, OfSeveralStopStringsTheOneThatEndsFirstCounts) {
  StopFilter filter({"world", "lo w", "o w"});
  EXPECT_EQ(filter.Push("hel"), "he");
  EXPECT_EQ(filter.Push("lo world"), "l");
  EXPECT_TRUE(filter.stopped());
}

// What StopFilter promises, one character at a time.
std::string UpToFirstStop(const std::string& text, const std::vector<std::string>& stops) {
  for (size_t end = 1; end <= text.size(); ++end) {
    size_t longest = 0;
    for (const std::string& stop : stops) {
      if (stop.size() <= end && text.compare(end - stop.size(), stop.size(), stop) == 0) {
        longest = std::max(longest, stop.size());
      }
    }
    if (longest > 0) return text.substr(0, end - longest);
  }
  return text;
}

TEST(StopFilterTest, AnyCutOfTheTextGivesTheSameResult) {
  std::mt19937 random(7);
  int64_t stopped = 0;
  for (int round = 0; round < 3000; ++round) {
    const auto word = [&random](size_t max) {
      std::string text(1 + random() % max, 'a');
      for (char& c : text) c = static_cast<char>('a' + random() % 2);
      return text;
    };
    const std::vector<std::string> stops = {word(5), word(7)};
    const std::string text = word(20);
    StopFilter filter(stops);
    std::string passed;
    for (size_t at = 0; at < text.size() && !filter.stopped();) {
      const size_t n = 1 + random() % 4;
      passed += filter.Push(text.substr(at, n));
      at += n;
    }
    if (!filter.stopped()) passed += filter.Finish();
    ASSERT_EQ(passed, UpToFirstStop(text, stops)) << text << " " << stops[0] << " " << stops[1];
    ASSERT_EQ(filter.stopped(), passed != text);
    stopped += filter.stopped() ? 1 : 0;
  }
  EXPECT_GT(stopped, 500);
  EXPECT_LT(stopped, 2900);
}

}  // namespace
}  // namespace reprise::engine
