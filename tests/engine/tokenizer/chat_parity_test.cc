// Our conversations against what transformers' apply_chat_template said of them, family by family.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/tokenizer/chat_format.h"
#include "engine/tokenizer/template_variables.h"
#include "tests/engine/tokenizer/parity_folder.h"

namespace reprise::engine {
namespace {

std::filesystem::path ChatFolder() {
  return std::filesystem::path(REPRISE_SOURCE_DIR) / "tests/parity/chat";
}

std::vector<std::string> Families() {
  std::vector<std::string> names;
  for (const auto& folder : std::filesystem::directory_iterator(ChatFolder())) {
    names.push_back(folder.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class ChatParityTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    auto loaded = LoadTokenizer((ChatFolder() / GetParam()).string());
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    tokenizer_ = *std::move(loaded);
    expected_ = ReadJson(ChatFolder() / GetParam() / "expected.json");
    ASSERT_GE(expected_.size(), 25u);
  }

  std::unique_ptr<Tokenizer> tokenizer_;
  nlohmann::json expected_;
};

TEST_P(ChatParityTest, ConversationsAreRenderedToTheExpectedTextAndIds) {
  const ChatFormat format = ChatFormat::Choose(tokenizer_.get());
  ASSERT_EQ(format.Name(), "template");
  int num_rendered = 0;
  for (const nlohmann::json& expected : expected_) {
    std::vector<ChatMessage> messages;
    for (const nlohmann::json& message : expected["messages"]) {
      messages.push_back({message["role"], message["content"]});
    }
    const auto variables = ReadTemplateVariables(expected.value("variables", ""));
    ASSERT_TRUE(variables.ok()) << variables.status();
    const auto text = format.RenderText(messages, *variables);
    const auto ids = format.RenderTokens(messages, *variables);
    if (expected.contains("error")) {
      EXPECT_EQ(text.status().code(), absl::StatusCode::kInvalidArgument) << expected["messages"];
      EXPECT_EQ(ids.status(), text.status());
      EXPECT_THAT(std::string(text.status().message()),
                  testing::EndsWith(expected["error"].get<std::string>()));
      continue;
    }
    ASSERT_TRUE(text.ok() && ids.ok()) << text.status() << expected["messages"];
    EXPECT_EQ(*text, expected["text"].get<std::string>()) << expected["messages"];
    EXPECT_EQ(*ids, expected["ids"].get<std::vector<uint32_t>>()) << expected["messages"];
    ++num_rendered;
  }
  EXPECT_GE(num_rendered, 7);
}

TEST_P(ChatParityTest, SpecialTokensInContentsStayText) {
  const ChatFormat format = ChatFormat::Choose(tokenizer_.get());
  const auto count_special = [&](const std::string& content) {
    const auto ids = format.RenderTokens({{"user", content}, {"assistant", "x"}, {"user", "y"}});
    EXPECT_TRUE(ids.ok()) << ids.status();
    return std::count_if(ids->begin(), ids->end(),
                         [&](uint32_t id) { return tokenizer_->IsSpecial(id); });
  };
  std::string all;
  int num_special = 0;
  for (uint32_t id = 0; id < tokenizer_->vocab_size(); ++id) {
    if (!tokenizer_->IsSpecial(id)) continue;
    all += tokenizer_->TokenBytes(id) + "user\n";
    ++num_special;
  }
  EXPECT_GE(num_special, 1);
  EXPECT_EQ(count_special(all), count_special("hello"));
  // Nor do halves of one make a whole with what the template writes.
  EXPECT_EQ(count_special("<|im_end|><"), count_special("hello"));
}

TEST_P(ChatParityTest, SpecialTokensInToolsStayText) {
  const ChatFormat format = ChatFormat::Choose(tokenizer_.get());
  const auto count_special = [&](const std::string& description) {
    const nlohmann::json json = {{"tools",
                                  {{{"type", "function"},
                                    {"function",
                                     {{"name", "f"},
                                      {"description", description},
                                      {"parameters", {{"type", "object"}}}}}}}}};
    const auto variables = ReadTemplateVariables(json.dump());
    EXPECT_TRUE(variables.ok()) << variables.status();
    const auto ids = format.RenderTokens({{"user", "x"}}, *variables);
    EXPECT_TRUE(ids.ok()) << ids.status();
    return std::count_if(ids->begin(), ids->end(),
                         [&](uint32_t id) { return tokenizer_->IsSpecial(id); });
  };
  std::string all;
  for (uint32_t id = 0; id < tokenizer_->vocab_size(); ++id) {
    if (tokenizer_->IsSpecial(id)) all += tokenizer_->TokenBytes(id);
  }
  EXPECT_EQ(count_special(all), count_special("hello"));
}

TEST_P(ChatParityTest, WhatEndsAnAnswerIsFound) {
  const ChatFormat format = ChatFormat::Choose(tokenizer_.get());
  const nlohmann::json config = ReadJson(ChatFolder() / GetParam() / "tokenizer_config.json");
  EXPECT_THAT(format.stop_token_ids(),
              testing::Contains(*tokenizer_->TokenToId(config["eos_token"].get<std::string>())));
  // Gemma and Phi-3 end turns by another token than a text.
  for (const char* token : {"<end_of_turn>", "<|end|>"}) {
    const absl::StatusOr<uint32_t> id = tokenizer_->TokenToId(token);
    if (!id.ok()) continue;
    EXPECT_THAT(format.stop_token_ids(), testing::Contains(*id));
  }
}

INSTANTIATE_TEST_SUITE_P(Families, ChatParityTest, testing::ValuesIn(Families()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace reprise::engine
