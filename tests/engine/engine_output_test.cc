#include "engine/engine_output.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/fakes/collecting_sink.h"
#include "tests/fakes/piece_tokenizer.h"

namespace reprise::engine {
namespace {

class OutputStreamTest : public testing::Test {
 protected:
  OutputStreamTest()
      : tokenizer_({"one ", "two ", "\nUs", "er:", "\xE2\x82", "\xAC", "</s>"}),
        sink_(std::make_shared<CollectingSink>()) {
    model_.eos_token_ids = {6};
    model_.max_positions = 100;
    request_.prompt = {1, 2, 3};
  }

  // Pushes `tokens` until one ends the request.
  std::optional<FinishReason> Push(const std::vector<uint32_t>& tokens) {
    OutputStream stream(&tokenizer_, &model_, &request_, 0, sink_);
    for (uint32_t token : tokens) {
      if (std::optional<FinishReason> reason = stream.Push(token, nullptr)) return reason;
    }
    return std::nullopt;
  }

  PieceTokenizer tokenizer_;
  ModelConfig model_;
  GenerateRequest request_;
  std::shared_ptr<CollectingSink> sink_;
};

TEST_F(OutputStreamTest, EosEndsTheRequestWithoutItsText) {
  EXPECT_EQ(Push({0, 1, 6, 0}), FinishReason::kStopToken);
  EXPECT_EQ(sink_->text(), "one two ");
  EXPECT_EQ(sink_->tokens(), (std::vector<uint32_t>{0, 1, 6}));
}

TEST_F(OutputStreamTest, EosCanBeIgnored) {
  request_.stop.ignore_eos = true;
  EXPECT_EQ(Push({0, 6, 1}), std::nullopt);
  EXPECT_EQ(sink_->text(), "one </s>two ");
  request_.stop.stop_token_ids = {6};  // asked for by name, it counts again
  EXPECT_EQ(Push({6}), FinishReason::kStopToken);
}

TEST_F(OutputStreamTest, AStopStringOverTwoTokensEndsTheTextBeforeIt) {
  request_.stop.stop_strings = {"\nUser:"};
  EXPECT_EQ(Push({0, 2, 3, 1}), FinishReason::kStopString);
  EXPECT_EQ(sink_->text(), "one ");
  EXPECT_EQ(sink_->tokens().size(), 3u);
}

TEST_F(OutputStreamTest, TheBeginningOfAStopStringAtTheEndIsText) {
  request_.stop.stop_strings = {"\nUser:"};
  request_.stop.max_new_tokens = 2;
  EXPECT_EQ(Push({0, 2}), FinishReason::kMaxTokens);
  EXPECT_EQ(sink_->text(), "one \nUs");
}

TEST_F(OutputStreamTest, AStopStringInTheLastTokenIsTheReason) {
  request_.stop.stop_strings = {"two"};
  request_.stop.max_new_tokens = 2;
  EXPECT_EQ(Push({0, 1}), FinishReason::kStopString);
  EXPECT_EQ(sink_->text(), "one ");
}

TEST_F(OutputStreamTest, ACharacterOverTwoTokensComesWhole) {
  request_.stop.max_new_tokens = 3;
  EXPECT_EQ(Push({4, 5, 4}), FinishReason::kMaxTokens);
  EXPECT_EQ(sink_->text(), "\xE2\x82\xAC\xEF\xBF\xBD");  // the second one was cut off
}

TEST_F(OutputStreamTest, TheContextEndsTheRequest) {
  model_.max_positions = 5;
  EXPECT_EQ(Push({0, 1, 0}), FinishReason::kContextFull);
  EXPECT_EQ(sink_->tokens().size(), 2u);
}

TEST_F(OutputStreamTest, APromptThatFillsTheContextGetsOneToken) {
  model_.max_positions = 3;
  EXPECT_EQ(Push({0, 1}), FinishReason::kContextFull);
  EXPECT_EQ(sink_->tokens().size(), 1u);
}

}  // namespace
}  // namespace reprise::engine
