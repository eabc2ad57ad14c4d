#include "engine/json/json_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

namespace reprise::engine {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string Nested(int depth) { return std::string(depth, '[') + std::string(depth, ']'); }

std::string ErrorOf(absl::string_view text) {
  const auto value = ParseJson(text, "a.json");
  EXPECT_EQ(value.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(value.status().message());
}

TEST(ParseJsonTest, DepthIsBounded) {
  EXPECT_TRUE(ParseJson(Nested(kMostJsonDepth), "a.json").ok());
  EXPECT_THAT(ErrorOf(Nested(kMostJsonDepth + 1)),
              AllOf(HasSubstr("a.json"), HasSubstr("65"), HasSubstr("64")));
  EXPECT_THAT(ErrorOf(Nested(1'000'000)), HasSubstr("at most 64"));
  EXPECT_THAT(ErrorOf(std::string(1'000'000, '[')), HasSubstr("at most 64"));
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  EXPECT_THAT(ErrorOf(objects), HasSubstr("at most 64"));
}

TEST(ParseJsonTest, BracketsInsideOfStringsAreText) {
  const std::string text = "[\"" + std::string(100, '[') + "\\\"" + std::string(100, '{') + "\"]";
  const auto value = ParseJson(text, "a.json");
  ASSERT_TRUE(value.ok()) << value.status();
  EXPECT_EQ(value->at(0).get<std::string>().size(), 201u);
  // Siblings are no depth.
  std::string siblings = "[[]";
  for (int i = 0; i < 100; ++i) siblings += ",[]";
  EXPECT_TRUE(ParseJson(siblings + "]", "a.json").ok());
}

TEST(ParseJsonTest, MalformedTextIsNamedWithItsPlaceAndNotQuotedWhole) {
  EXPECT_THAT(ErrorOf("{\"a\": }"), AllOf(HasSubstr("a.json: not JSON: "), HasSubstr("line 1")));
  EXPECT_LT(ErrorOf("[\"" + std::string(1 << 20, 'x')).size(), 300u);
  for (const char* text : {"", "\"", "\"\\", "]", "[\xff]"}) ErrorOf(text);
}

class ReadTextFileTest : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  const std::string folder_ = testing::TempDir() + "/read_text_file_test";
};

TEST_F(ReadTextFileTest, SizeIsBounded) {
  const std::string path = folder_ + "/file";
  std::ofstream(path) << "12345";
  EXPECT_EQ(*ReadTextFile(path, 5), "12345");
  const absl::Status status = ReadTextFile(path, 4).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr(path), HasSubstr("5 bytes"), HasSubstr("at most 4")));
}

TEST_F(ReadTextFileTest, MissingFilesAndFoldersAreRefused) {
  EXPECT_EQ(ReadTextFile(folder_ + "/none", 10).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReadTextFile(folder_ + "/none/none", 10).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReadTextFile(folder_, 1 << 20).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace reprise::engine
