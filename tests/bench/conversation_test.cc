#include "bench/conversation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "bench/temp_folder.h"

namespace reprise::bench {
namespace {

class ConversationTest : public testing::Test {
 protected:
  std::string Write(const std::string& text) {
    const std::string path = folder_.path() + "/conversation.json";
    std::ofstream(path) << text;
    return path;
  }

  const TempFolder folder_ = *TempFolder::Make("reprise-conversation-test");
};

TEST_F(ConversationTest, DemoConversationIsLongEnoughToShowReuse) {
  const auto conversation = ReadConversation(REPRISE_SOURCE_DIR "/deploy/conversation.json");
  ASSERT_TRUE(conversation.ok()) << conversation.status();
  EXPECT_GE(conversation->turns.size(), 8u);
  // English takes about 4.2 characters a token with the vocabularies of common models.
  EXPECT_GE(conversation->system.size(), 1500u * 42 / 10);
}

TEST_F(ConversationTest, MissingFileIsNamed) {
  const auto conversation = ReadConversation("/nonexistent.json");
  EXPECT_EQ(conversation.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(conversation.status().message()),
              testing::HasSubstr("/nonexistent.json"));
}

TEST_F(ConversationTest, MalformedFilesAreRefusedWithTheCause) {
  for (const char* text :
       {"", "[]", R"({"turns": ["a"]})", R"({"system": "s", "turns": []})",
        R"({"system": "s", "turns": [1]})", R"({"system": 1, "turns": ["a"]})"}) {
    const auto conversation = ReadConversation(Write(text));
    EXPECT_EQ(conversation.status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
  EXPECT_TRUE(ReadConversation(Write(R"({"system": "s", "turns": ["a"]})")).ok());
}

}  // namespace
}  // namespace reprise::bench
