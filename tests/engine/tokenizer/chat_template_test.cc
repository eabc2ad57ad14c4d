#include "engine/tokenizer/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "engine/tokenizer/tokenizer.h"
#include "tests/engine/tokenizer/parity_folder.h"

namespace reprise::engine {
namespace {

class ChatTemplateTest : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void Write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ + "/" + name) << text;
  }

  const std::string folder_ = testing::TempDir() + "/chat_template_test";
};

TEST_F(ChatTemplateTest, IsEmptyWithoutOne) {
  EXPECT_EQ(ReadChatTemplate(folder_)->jinja, "");
  Write("tokenizer_config.json", R"({"eos_token": "x", "chat_template": null})");
  EXPECT_EQ(ReadChatTemplate(folder_)->jinja, "");
}

TEST_F(ChatTemplateTest, ComesFromTheConfigAndRatherFromItsOwnFile) {
  Write("tokenizer_config.json", R"({"chat_template": "one"})");
  EXPECT_EQ(ReadChatTemplate(folder_)->jinja, "one");
  Write("tokenizer_config.json",
        R"({"chat_template": [{"name": "tool_use", "template": "two"},
                              {"name": "default", "template": "three"}]})");
  EXPECT_EQ(ReadChatTemplate(folder_)->jinja, "three");
  Write("chat_template.jinja", "four");
  EXPECT_EQ(ReadChatTemplate(folder_)->jinja, "four");
}

TEST_F(ChatTemplateTest, WhatIsNoTemplateIsRefusedWithItsPlace) {
  for (const char* text : {"{", "{\"chat_template\": 1}", "{\"chat_template\": []}",
                           "{\"chat_template\": [{\"name\": \"default\"}]}", "{\"bos_token\": 1}",
                           "{\"eos_token\": {\"content\": 1}}"}) {
    Write("tokenizer_config.json", text);
    const auto read = ReadChatTemplate(folder_);
    EXPECT_EQ(read.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(read.status().message()), testing::HasSubstr("tokenizer_config.json"));
  }
}

TEST_F(ChatTemplateTest, SpecialTokensAreTextsOrObjectsWithTheirContent) {
  Write("tokenizer_config.json", R"({"bos_token": "<s>", "eos_token": {"content": "</s>"},
                                     "unk_token": null, "chat_template": "one"})");
  Write("chat_template.jinja", "two");
  EXPECT_THAT(
      ReadChatTemplate(folder_)->special_tokens,
      testing::ElementsAre(testing::Pair("bos_token", "<s>"), testing::Pair("eos_token", "</s>")));
}

TEST_F(ChatTemplateTest, IsLoadedWithTheTokenizer) {
  std::filesystem::copy(ParityFolder() / "gpt2" / "tokenizer.json", folder_);
  Write("chat_template.jinja", "four");
  const auto tokenizer = LoadTokenizer(folder_);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->chat_template().jinja, "four");
}

}  // namespace
}  // namespace reprise::engine
