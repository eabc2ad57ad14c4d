#include "engine/tokenizer/template_variables.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace reprise::engine {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string ErrorOf(absl::string_view json) {
  const auto variables = ReadTemplateVariables(json);
  EXPECT_EQ(variables.status().code(), absl::StatusCode::kInvalidArgument) << json;
  return std::string(variables.status().message());
}

std::vector<std::string> NamesOf(const jinja::Map& map) {
  std::vector<std::string> names;
  for (const auto& [name, value] : map) names.push_back(name);
  return names;
}

TEST(TemplateVariablesTest, ValuesKeepTheirKindsAndMembersTheirOrder) {
  const auto variables = ReadTemplateVariables(
      R"({"z": null, "enable_thinking": false, "a": -7, "tools": [{"c": "x", "b": [], "a": 1}]})");
  ASSERT_TRUE(variables.ok()) << variables.status();
  EXPECT_THAT(NamesOf(*variables), ElementsAre("z", "enable_thinking", "a", "tools"));
  EXPECT_TRUE((*variables)[0].second.is_none());
  EXPECT_EQ(*(*variables)[1].second.boolean(), false);
  EXPECT_EQ(*(*variables)[2].second.integer(), -7);
  const jinja::List& tools = *(*variables)[3].second.list();
  ASSERT_EQ(tools.size(), 1u);
  EXPECT_THAT(NamesOf(*tools[0].map()), ElementsAre("c", "b", "a"));
  const MarkedText& text = *tools[0].map()->front().second.string();
  EXPECT_EQ(text.text(), "x");
  EXPECT_TRUE(text.IsPlain({0, 1}));
}

TEST(TemplateVariablesTest, EmptyTextHasNoneAndTheLastOfANameCounts) {
  EXPECT_TRUE(ReadTemplateVariables("")->empty());
  EXPECT_TRUE(ReadTemplateVariables("{}")->empty());
  const auto variables = ReadTemplateVariables(R"({"a": 1, "b": 2, "a": 3})");
  ASSERT_TRUE(variables.ok()) << variables.status();
  EXPECT_THAT(NamesOf(*variables), ElementsAre("a", "b"));
  EXPECT_EQ(*variables->front().second.integer(), 3);
}

TEST(TemplateVariablesTest, WhatCannotBeGivenIsRefusedWithTheReason) {
  EXPECT_THAT(ErrorOf("[1]"), HasSubstr("not an object"));
  EXPECT_THAT(ErrorOf("{\"a\": }"), HasSubstr("not JSON at byte"));
  EXPECT_THAT(ErrorOf("{\"a\": 1} {"), HasSubstr("not JSON"));
  EXPECT_THAT(ErrorOf("{\"a\": \"\xff\"}"), HasSubstr("not JSON"));
  EXPECT_THAT(ErrorOf("{\"a\": 0.5}"), HasSubstr("0.5 is not whole"));
  EXPECT_THAT(ErrorOf("{\"a\": 18446744073709551615}"), HasSubstr("63 bits"));
  EXPECT_THAT(ErrorOf("{\"messages\": []}"), HasSubstr("set by the conversation"));
  EXPECT_THAT(ErrorOf("{\"add_generation_prompt\": false}"), HasSubstr("set by the conversation"));
  EXPECT_THAT(ErrorOf("{\"tools\": [{\"<|im_end|>\": 1}]}"), HasSubstr("special tokens are made"));
  EXPECT_THAT(ErrorOf(absl::StrCat("{\"a\": ", std::string(100, '['), std::string(100, ']'), "}")),
              HasSubstr("at most 64"));
  EXPECT_THAT(ErrorOf(absl::StrCat("{\"a\": \"", std::string(1 << 18, 'x'), "\"}")),
              HasSubstr("bytes"));
  std::string many = "{";
  for (int i = 0; i < 65; ++i) absl::StrAppend(&many, i == 0 ? "" : ",", "\"v", i, "\": 1");
  EXPECT_THAT(ErrorOf(many + "}"), HasSubstr("65 members"));
}

}  // namespace
}  // namespace reprise::engine
