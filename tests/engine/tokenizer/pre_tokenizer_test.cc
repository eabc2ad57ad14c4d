#include "engine/tokenizer/pre_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace reprise::engine {
namespace {

using testing::ElementsAre;

PreTokenizerStage Split(absl::string_view pattern, SplitBehavior behavior,
                        SplitOn on = SplitOn::kMatches) {
  auto compiled = SplitPattern::Compile(pattern);
  EXPECT_TRUE(compiled.ok()) << compiled.status();
  return SplitStage{*std::move(compiled), behavior, on};
}

std::vector<std::string> Pieces(PreTokenizerStage first, const std::string& text) {
  std::vector<PreTokenizerStage> stages;
  stages.push_back(std::move(first));
  const auto pieces = PreTokenizer(std::move(stages)).Split(text, TextPlace::kStart);
  EXPECT_TRUE(pieces.ok()) << pieces.status();
  std::vector<std::string> texts;
  for (const TextRange& range : pieces->ranges) {
    texts.push_back(pieces->text.substr(range.begin, range.end - range.begin));
  }
  return texts;
}

TEST(PreTokenizerTest, EachBehaviorTreatsMatchesInItsWay) {
  const std::string text = "-a--b-";
  EXPECT_THAT(Pieces(Split("-", SplitBehavior::kIsolated), text),
              ElementsAre("-", "a", "-", "-", "b", "-"));
  EXPECT_THAT(Pieces(Split("-", SplitBehavior::kRemoved), text), ElementsAre("a", "b"));
  EXPECT_THAT(Pieces(Split("-", SplitBehavior::kContiguous), text),
              ElementsAre("-", "a", "--", "b", "-"));
  EXPECT_THAT(Pieces(Split("-", SplitBehavior::kMergedWithPrevious), text),
              ElementsAre("-", "a-", "-", "b-"));
  EXPECT_THAT(Pieces(Split("-", SplitBehavior::kMergedWithNext), text),
              ElementsAre("-a", "-", "-b", "-"));
}

// Pieces as the tokenizers library (0.23) gives them.
TEST(PreTokenizerTest, EmptyMatchesCutBetweenCharacters) {
  EXPECT_THAT(Pieces(Split("(?=[A-Z])", SplitBehavior::kIsolated), "ABc"), ElementsAre("A", "Bc"));
  EXPECT_THAT(Pieces(Split("(?=[A-Z])", SplitBehavior::kRemoved), "aBCd"),
              ElementsAre("a", "B", "Cd"));
  const std::string text = "a1bbb2";
  EXPECT_THAT(Pieces(Split("\\d*", SplitBehavior::kIsolated), text),
              ElementsAre("a", "1", "b", "b", "b", "2"));
  EXPECT_THAT(Pieces(Split("\\d*", SplitBehavior::kRemoved), text),
              ElementsAre("a", "b", "b", "b"));
  EXPECT_THAT(Pieces(Split("\\d*", SplitBehavior::kContiguous), text),
              ElementsAre("a", "1", "b", "b", "b", "2"));
  EXPECT_THAT(Pieces(Split("\\d*", SplitBehavior::kMergedWithPrevious), text),
              ElementsAre("a1", "b", "b", "b2"));
  EXPECT_THAT(Pieces(Split("\\d*", SplitBehavior::kMergedWithNext), text),
              ElementsAre("a", "1b", "b", "b", "2"));
}

TEST(PreTokenizerTest, InvertedSplitsTreatTheGapsAsMatches) {
  EXPECT_THAT(Pieces(Split("[a-z]+", SplitBehavior::kRemoved, SplitOn::kGaps), "ab, cd!"),
              ElementsAre("ab", "cd"));
}

TEST(PreTokenizerTest, SpaceIsPutBeforePiecesThatHaveNone) {
  EXPECT_THAT(Pieces(SpaceStage{}, "a"), ElementsAre(" a"));
  EXPECT_THAT(Pieces(SpaceStage{}, " a"), ElementsAre(" a"));
  EXPECT_THAT(Pieces(SpaceStage{}, ""), ElementsAre());
}

TEST(PreTokenizerTest, SpacesAreSpeltAndPutBeforeTheFirstOrEveryPiece) {
  for (const auto& [prefix, place, expected] :
       {std::make_tuple(SpacePrefix::kAlways, TextPlace::kInside, "_a_b"),
        std::make_tuple(SpacePrefix::kFirst, TextPlace::kStart, "_a_b"),
        std::make_tuple(SpacePrefix::kFirst, TextPlace::kInside, "a_b"),
        std::make_tuple(SpacePrefix::kNever, TextPlace::kStart, "a_b")}) {
    std::vector<PreTokenizerStage> stages;
    stages.emplace_back(SpaceStage{"_", prefix});
    const auto pieces = PreTokenizer(std::move(stages)).Split("a b", place);
    ASSERT_TRUE(pieces.ok()) << pieces.status();
    EXPECT_EQ(pieces->text, expected);
  }
}

TEST(PreTokenizerTest, LaterStagesCutThePiecesOfEarlierOnes) {
  std::vector<PreTokenizerStage> stages;
  stages.push_back(Split("-", SplitBehavior::kRemoved));
  stages.emplace_back(SpaceStage{});
  stages.push_back(Split(PreTokenizer::ByteLevelPattern(), SplitBehavior::kIsolated));
  const auto pieces = PreTokenizer(std::move(stages)).Split("ab1-  c", TextPlace::kStart);
  ASSERT_TRUE(pieces.ok()) << pieces.status();
  EXPECT_EQ(pieces->text, " ab1  c");
  EXPECT_THAT(pieces->ranges,
              ElementsAre(TextRange{0, 3}, TextRange{3, 4}, TextRange{4, 5}, TextRange{5, 7}));
}

}  // namespace
}  // namespace reprise::engine
