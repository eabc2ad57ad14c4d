#include "api/cli/config_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace reprise::api {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// The value of the one setting in "name = `value`".
std::string ValueOf(const std::string& value) {
  const auto settings = ParseConfig("name = " + value);
  EXPECT_TRUE(settings.ok()) << settings.status();
  return settings.ok() && settings->size() == 1 ? (*settings)[0].value : "(none)";
}

std::string ErrorOf(const std::string& text) {
  const auto settings = ParseConfig(text);
  EXPECT_EQ(settings.status().code(), absl::StatusCode::kInvalidArgument) << text;
  return std::string(settings.status().message());
}

TEST(ConfigFileTest, SettingsKeepTheirOrderAndSection) {
  const auto settings =
      ParseConfig("# first\n\n a = 1\r\n[serve] # here\n  b=2 # two\n[ x ]\nc = 3");
  ASSERT_TRUE(settings.ok()) << settings.status();
  ASSERT_EQ(settings->size(), 3u);
  EXPECT_EQ((*settings)[0].FullName(), "a");
  EXPECT_EQ((*settings)[0].value, "1");
  EXPECT_EQ((*settings)[1].FullName(), "serve.b");
  EXPECT_EQ((*settings)[1].value, "2");
  EXPECT_EQ((*settings)[2].FullName(), "x.c");
  EXPECT_THAT(*ParseConfig(""), IsEmpty());
}

TEST(ConfigFileTest, QuotedValuesAreTakenWhole) {
  EXPECT_EQ(ValueOf("\"/models/a #1\" # a comment"), "/models/a #1");
  EXPECT_EQ(ValueOf("'/models/a #1'# a comment"), "/models/a #1");
  EXPECT_EQ(ValueOf("\"it's [a] = b\""), "it's [a] = b");
  EXPECT_EQ(ValueOf("'\"\\n'"), "\"\\n");
  EXPECT_EQ(ValueOf(R"("a \"b\" \\")"), R"(a "b" \)");
  EXPECT_EQ(ValueOf("\"\""), "");
  EXPECT_EQ(ValueOf("a b = c"), "a b = c");
}

TEST(ConfigFileTest, WhatCannotBeReadIsNamedWithItsLine) {
  EXPECT_THAT(ErrorOf("a = 1\nb = \"/models/a"),
              AllOf(HasSubstr("line 2"), HasSubstr("not close")));
  EXPECT_THAT(ErrorOf("a = '/models/a\""), HasSubstr("not close"));
  EXPECT_THAT(ErrorOf("a = \"/models\\\""), HasSubstr("not close"));
  EXPECT_THAT(ErrorOf("a = \"b\" c"), HasSubstr("\"c\" stands behind the closing quote"));
  EXPECT_THAT(ErrorOf("a = b\"c\""), HasSubstr("around the whole value"));
  EXPECT_THAT(ErrorOf("a = \"\\t\""), HasSubstr("single quotes"));
  EXPECT_THAT(ErrorOf("a ="), HasSubstr("missing"));
  EXPECT_THAT(ErrorOf("a = # b"), HasSubstr("missing"));
  EXPECT_THAT(ErrorOf("allow"), HasSubstr("name = value"));
  EXPECT_THAT(ErrorOf("= 1"), HasSubstr("name = value"));
  EXPECT_THAT(ErrorOf("[serve"), HasSubstr("]"));
  EXPECT_THAT(ErrorOf("[serve] a = 1"), HasSubstr("stands behind the section"));
}

}  // namespace
}  // namespace reprise::api
