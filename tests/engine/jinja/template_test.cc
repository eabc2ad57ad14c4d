#include "engine/jinja/template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace reprise::engine::jinja {
namespace {

using testing::HasSubstr;

Value ToValue(const nlohmann::ordered_json& json) {
  if (json.is_boolean()) return Value(json.get<bool>());
  if (json.is_number()) return Value(json.get<int64_t>());
  if (json.is_string()) return Value::Own(json.get<std::string>());
  if (json.is_array()) {
    List list;
    for (const auto& element : json) list.push_back(ToValue(element));
    return Value(std::move(list));
  }
  if (!json.is_object()) return Value();
  Map map;
  for (const auto& [key, value] : json.items()) map.emplace_back(key, ToValue(value));
  return Value(std::move(map));
}

absl::StatusOr<MarkedText> Render(const std::string& source, Map variables = {}) {
  absl::StatusOr<Template> parsed = Template::Parse(source);
  if (!parsed.ok()) return parsed.status();
  return parsed->Render(std::move(variables));
}

std::string ErrorOf(const std::string& source, Map variables = {}) {
  const absl::StatusOr<MarkedText> text = Render(source, std::move(variables));
  EXPECT_FALSE(text.ok()) << source;
  return std::string(text.status().message());
}

// Cases of tests/parity/make_jinja_fixtures.py.
TEST(TemplateTest, WritesWhatJinja2Writes) {
  std::ifstream file(std::filesystem::path(REPRISE_SOURCE_DIR) / "tests/parity/jinja/cases.json");
  const nlohmann::ordered_json document = nlohmann::ordered_json::parse(file);
  Map variables;
  for (const auto& [name, value] : document["variables"].items()) {
    variables.emplace_back(name, ToValue(value));
  }
  int num_failing = 0;
  for (const auto& test : document["cases"]) {
    const std::string source = test["template"].get<std::string>();
    const absl::StatusOr<MarkedText> text = Render(source, variables);
    if (!test.contains("text")) {
      EXPECT_FALSE(text.ok()) << source;
      ++num_failing;
      continue;
    }
    ASSERT_TRUE(text.ok()) << text.status() << "\n" << source;
    EXPECT_EQ(text->text(), test["text"].get<std::string>()) << source;
    EXPECT_THAT(text->plain(), testing::IsEmpty()) << source;
  }
  EXPECT_GE(document["cases"].size(), 180u);
  EXPECT_GE(num_failing, 30);
}

TEST(TemplateTest, WhatIsNotSupportedIsRefusedByNameAndLine) {
  const std::pair<const char*, const char*> cases[] = {
      {"\n{% include 'x' %}", "line 2: tag 'include' is not supported"},
      {"{% raw %}", "tag 'raw' is not supported"},
      {"{{ 1.5 }}", "number 1.5 is not supported"},
      {"{{ 0x10 }}", "number 0x10 is not supported"},
      {"{{ 1 < 2 < 3 }}", "a < b < c is not supported"},
      {"{{ 7 / 2 }}", "found '/'"},
      {"{% if true %}{% macro m() %}{% endmacro %}{% endif %}", "a macro inside of a block"},
      {"{% for x in y recursive %}{% endfor %}", "recursive is not supported"},
      {"{{ f(*x) }}", "by * or **"},
      {"\n\n{{ 'a' | center }}", "line 3: filter \"center\" is not supported"},
      {"{{ 'a' is upper }}", "test \"upper\" is not supported"},
      {"{{ 'a'.zfill(3) }}", "method \"zfill\" of a string is not supported"},
      {"{{ [1] }}", "writing a list as text is not supported"},
      {"{{ strftime_now('%d') }}", "\"strftime_now\", which is not defined"},
      {"{{ '\\N{BULLET}' }}", "escape \\N is not supported"},
      {"{{ '\u00e4' | upper }}", "letters beyond ASCII"},
      {"{{ 'a' | tojson(sort_keys=true) }}", "argument \"sort_keys\" is not supported"},
  };
  for (const auto& [source, cause] : cases) EXPECT_THAT(ErrorOf(source), HasSubstr(cause));
}

TEST(TemplateTest, CodesTellTheConversationsFaultFromTheTemplates) {
  EXPECT_EQ(Render("{{ raise_exception('no') }}").status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Render("{{ a.b }}").status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Render("{% for i in range(1000000000) %}{% endfor %}").status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(TemplateTest, WorkDepthAndCallsAreBounded) {
  // Doubling, endless recursion, deep values and texts, and equality of values that share parts.
  for (const char* source :
       {"{% set ns = namespace(a='x') %}{% for i in range(60) %}{% set ns.a = ns.a + ns.a %}"
        "{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% set ns = namespace(a=1) %}{% for i in range(100000) %}{% set ns.a = [ns.a] %}"
        "{% endfor %}",
        "{% set ns = namespace(a=1, b=1) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}"
        "{% set ns.b = [ns.b, ns.b] %}{% endfor %}{{ ns.a == ns.b }}",
        "{% set ns = namespace(a=[1]) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}"
        "{% endfor %}{{ ns.a | tojson }}"}) {
    EXPECT_THAT(ErrorOf(source), testing::AnyOf(HasSubstr("too many steps"), HasSubstr("forever"),
                                                HasSubstr("in each other")));
  }
  // A namespace may hold itself, or hold others in a long row.
  EXPECT_TRUE(Render("{% set ns = namespace() %}{% set ns.a = ns %}").ok());
  EXPECT_TRUE(Render("{% set ns = namespace() %}{% for i in range(100000) %}"
                     "{% set ns.a = namespace(b=ns.a) %}{% endfor %}")
                  .ok());
  for (const auto& [open, close] :
       {std::make_pair("(", ")"), std::make_pair("[", "]"), std::make_pair("{'a':", "}"),
        std::make_pair("-", ""), std::make_pair("not ", ""), std::make_pair("a[", "]"),
        std::make_pair("f(", ")"), std::make_pair("1 if 1 else ", "")}) {
    std::string source = "1";
    for (int i = 0; i < 100'000; ++i) source += close;
    std::string opened;
    for (int i = 0; i < 100'000; ++i) opened += open;
    EXPECT_THAT(ErrorOf("{{ " + opened + source + " }}"), HasSubstr("more than 100"));
  }
  for (const char* part : {" + 1", ".a", " | trim", "[0]", " and 1"}) {
    std::string source = "{{ a";
    for (int i = 0; i < 100'000; ++i) source += part;
    EXPECT_THAT(ErrorOf(source + " }}"), HasSubstr("more than 100"));
  }
  std::string blocks;
  for (int i = 0; i < 100'000; ++i) blocks += "{% if a %}";
  EXPECT_THAT(ErrorOf(blocks), HasSubstr("blocks in each other"));
}

// What the template makes of the plain variable `p`, with plain bytes in <>.
std::string MarksOf(const std::string& source, const std::string& p = "  A b,C\"  ") {
  const absl::StatusOr<MarkedText> text =
      Render(source, {{"p", Value(MarkedText::Plain(p))}, {"own", Value::Own("own")}});
  EXPECT_TRUE(text.ok()) << text.status();
  std::string shown = text->text();
  for (auto range = text->plain().rbegin(); range != text->plain().rend(); ++range) {
    shown.insert(range->end, ">").insert(range->begin, "<");
  }
  return shown;
}

TEST(TemplateTest, PlainBytesStayPlainWhateverIsDoneWithThem) {
  EXPECT_EQ(MarksOf("a{{ p.strip() }}b{{ own }}"), "a<A b,C\">bown");
  EXPECT_EQ(MarksOf("{{ '[' + p | trim + ']' }}"), "[<A b,C\">]");
  EXPECT_EQ(MarksOf("{{ own ~ p.split(',')[1] | trim }}"), "own<C\">");
  EXPECT_EQ(MarksOf("{{ p.split() | join('+') }}"), "<A>+<b,C\">");
  EXPECT_EQ(MarksOf("{{ p.replace('b', own) | trim }}"), "<A >own<,C\">");
  EXPECT_EQ(MarksOf("{{ own.replace('w', p.strip()) }}"), "o<A b,C\">n");
  EXPECT_EQ(MarksOf("{{ p[2] ~ p[4:6] ~ p[::-1][2] }}"), "<Ab,\">");
  EXPECT_EQ(MarksOf("{{ (own + p[2] + own) | upper }}"), "OWN<A>OWN");
  EXPECT_EQ(MarksOf("{{ {'k': p.strip()} | tojson }}"), "{\"k\": \"<A b,C\\\">\"}");
  EXPECT_EQ(MarksOf("{% set x %}({{ p | trim }}){% endset %}{{ x }}"), "(<A b,C\">)");
  EXPECT_EQ(MarksOf("{% macro m(t) %}({{ t }}){% endmacro %}{{ m(p | trim) }}"), "(<A b,C\">)");
  EXPECT_EQ(MarksOf("{% for c in p[2:5] %}{{ c }}-{% endfor %}"), "<A>-< >-<b>-");
  EXPECT_EQ(MarksOf("{{ [own, p[2]] | map('lower') | join('/') }}"), "own/<a>");
  EXPECT_EQ(MarksOf("{% if p[2] == 'A' %}{{ own }}{% endif %}"), "own");
}

}  // namespace
}  // namespace reprise::engine::jinja
