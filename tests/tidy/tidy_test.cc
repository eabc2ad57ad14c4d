// Rules about the text of files. Each rule is a function of one file; the tree must pass all of
// them, and each must catch the text made up against it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "tests/tidy/source_tree.h"

namespace reprise {
namespace {

// Names what the rules forbid, and is free to.
constexpr absl::string_view kSelf = "tests/tidy/tidy_test.cc";
constexpr size_t kMaxLines = 500;
constexpr size_t kMaxColumns = 100;
constexpr size_t kMaxBytes = 1 << 20;

using Complaints = std::vector<std::string>;

bool IsScript(const std::string& path) {
  return ExtensionOf(path) == ".py" || ExtensionOf(path) == ".sh";
}

// Written by people: not data, not a license.
bool IsWritten(const std::string& path) {
  static const std::set<std::string> kExtensions = {".h",  ".cc", ".cu",    ".cuh",   ".py",
                                                    ".sh", ".md", ".proto", ".cmake", ".txt"};
  return kExtensions.count(ExtensionOf(path)) > 0;
}

bool IsTest(const std::string& path) { return absl::StartsWith(path, "tests/"); }

// Tests of processes that are killed at a random moment: they may pass time, and leave threads.
bool IsCrashTest(const std::string& path) { return absl::StartsWith(path, "tests/crash/"); }

// Characters of a line, which is UTF-8.
size_t NumColumns(const std::string& line) {
  size_t columns = 0;
  for (const char c : line) columns += (c & 0xc0) != 0x80 ? 1 : 0;
  return columns;
}

// One complaint, "line N: CAUSE WORD", for each line of `file` that holds one of `words`.
Complaints LinesWith(const SourceFile& file, const std::vector<std::string>& words,
                     const std::string& cause) {
  Complaints complaints;
  if (file.path == kSelf) return complaints;
  const std::vector<std::string> lines = LinesOf(file.text);
  for (size_t i = 0; i < lines.size(); ++i) {
    for (const std::string& word : words) {
      if (absl::StrContains(lines[i], word)) {
        complaints.push_back(absl::StrCat("line ", i + 1, ": ", cause, " ", word));
      }
    }
  }
  return complaints;
}

Complaints CheckLength(const SourceFile& file) {
  const size_t num_lines = LinesOf(file.text).size();
  if (!(IsCpp(file.path) || IsScript(file.path)) || num_lines <= kMaxLines) return {};
  return {absl::StrCat(num_lines, " lines, at most ", kMaxLines)};
}

Complaints CheckColumns(const SourceFile& file) {
  Complaints complaints;
  if (!IsCpp(file.path)) return complaints;
  const std::vector<std::string> lines = LinesOf(file.text);
  for (size_t i = 0; i < lines.size(); ++i) {
    const size_t columns = NumColumns(lines[i]);
    if (columns <= kMaxColumns) continue;
    complaints.push_back(
        absl::StrCat("line ", i + 1, ": ", columns, " columns, at most ", kMaxColumns));
  }
  return complaints;
}

// Names that say nothing collect everything.
Complaints CheckName(const SourceFile& file) {
  const std::string stem = std::filesystem::path(file.path).stem().string();
  for (const absl::string_view part : absl::StrSplit(stem, absl::ByAnyChar("_-."))) {
    for (const absl::string_view banned : {"common", "helper", "helpers", "manager", "misc"}) {
      if (part == banned) return {absl::StrCat("banned file name: ", part)};
    }
    if (absl::StrContains(part, "util")) return {absl::StrCat("banned file name: ", part)};
  }
  return {};
}

Complaints CheckUnfinished(const SourceFile& file) {
  if (!IsWritten(file.path) || ExtensionOf(file.path) == ".md") return {};
  return LinesWith(file, {"TODO", "FIXME", "DISABLED_"}, "unfinished:");
}

// How long a test runs is no option of the program.
Complaints CheckEnvironment(const SourceFile& file) {
  if (!IsCpp(file.path) || absl::StartsWith(file.path, "api/") || IsTest(file.path)) return {};
  return LinesWith(file, {"getenv("}, "options come in through api/, not by");
}

Complaints CheckFriends(const SourceFile& file) {
  if (!IsCpp(file.path)) return {};
  return LinesWith(file, {"friend class"}, "a seam is missing:");
}

Complaints CheckSleeps(const SourceFile& file) {
  if (!IsCpp(file.path) || !IsTest(file.path) || IsCrashTest(file.path)) return {};
  return LinesWith(file, {"sleep_for(", "sleep_until(", "SleepFor(", "usleep(", "nanosleep("},
                   "tests wait for events, not by");
}

Complaints CheckThreads(const SourceFile& file) {
  if (!IsCpp(file.path)) return {};
  std::vector<std::string> banned = {"std::mutex",      "std::shared_mutex",
                                     "std::lock_guard", "std::condition_variable",
                                     "std::async(",     "std::scoped_lock"};
  if (!IsCrashTest(file.path)) banned.push_back(".detach(");
  return LinesWith(file, banned, "use absl::Mutex, and join every thread, instead of");
}

Complaints CheckWhiteSpace(const SourceFile& file) {
  if (!IsWritten(file.path)) return {};
  Complaints complaints = LinesWith(file, {"\t"}, "tab");
  const std::vector<std::string> lines = LinesOf(file.text);
  for (size_t i = 0; i < lines.size(); ++i) {
    if (absl::EndsWith(lines[i], " ") || absl::EndsWith(lines[i], "\r")) {
      complaints.push_back(absl::StrCat("line ", i + 1, ": white space at the end"));
    }
  }
  if (!file.text.empty() && file.text.back() != '\n') {
    complaints.push_back("no line end at the end");
  }
  return complaints;
}

Complaints CheckSize(const SourceFile& file) {
  if (file.text.size() <= kMaxBytes) return {};
  return {absl::StrCat(file.text.size(), " bytes, at most ", kMaxBytes)};
}

// Targets of the links [..](TARGET) of a text, without what stands in code.
std::vector<std::string> LinkTargets(const std::string& text) {
  std::vector<std::string> targets;
  bool in_fence = false;
  for (const std::string& line : LinesOf(text)) {
    if (absl::StartsWith(line, "```")) in_fence = !in_fence;
    if (in_fence || absl::StartsWith(line, "    ")) continue;
    for (size_t at = line.find("]("); at != std::string::npos; at = line.find("](", at + 1)) {
      targets.push_back(line.substr(at + 2, line.find(')', at) - at - 2));
    }
  }
  return targets;
}

Complaints CheckLinks(const SourceFile& file) {
  Complaints complaints;
  if (ExtensionOf(file.path) != ".md") return complaints;
  const std::filesystem::path folder =
      (std::filesystem::path(REPRISE_SOURCE_DIR) / file.path).parent_path();
  for (const std::string& target : LinkTargets(file.text)) {
    const std::string path = target.substr(0, target.find('#'));
    if (path.empty() || absl::StrContains(path, "://") || absl::StartsWith(path, "mailto:"))
      continue;
    if (!std::filesystem::exists(folder / path)) {
      complaints.push_back(absl::StrCat("link to ", path, ", which does not exist"));
    }
  }
  return complaints;
}

// The page whose examples are checked, and where on it they are.
constexpr absl::string_view kApiPage = "api/README.md";
constexpr absl::string_view kExamples = "\n## Every RPC, by example\n";

// What stands in the blocks of code of `page` that are examples of RPCs.
std::string ExamplesOf(absl::string_view page) {
  const size_t begin = page.find(kExamples);
  if (begin == absl::string_view::npos) return "";
  absl::string_view section = page.substr(begin + kExamples.size());
  section = section.substr(0, section.find("\n## "));
  std::string examples;
  bool fenced = false;
  for (const std::string& line : LinesOf(std::string(section))) {
    if (absl::StartsWith(line, "```")) fenced = !fenced;
    if (fenced || absl::StartsWith(line, "    ")) absl::StrAppend(&examples, line, "\n");
  }
  return examples;
}

// The RPCs of a proto file as examples name them: "Cache.Match".
std::vector<std::string> RpcsOf(absl::string_view proto) {
  std::vector<std::string> rpcs;
  std::string service;
  for (const std::string& line : LinesOf(std::string(proto))) {
    const std::vector<std::string> words =
        absl::StrSplit(line, absl::ByAnyChar(" (;{"), absl::SkipEmpty());
    if (words.size() > 1 && words[0] == "service") service = words[1];
    if (words.size() > 1 && words[0] == "rpc") rpcs.push_back(absl::StrCat(service, ".", words[1]));
  }
  return rpcs;
}

bool IsNamed(absl::string_view rpc, absl::string_view text) {
  for (size_t at = text.find(rpc); at != absl::string_view::npos; at = text.find(rpc, at + 1)) {
    const size_t end = at + rpc.size();
    if (end == text.size() || !absl::ascii_isalnum(text[end])) return true;
  }
  return false;
}

// Of proto files: RPCs that no example on the page names, by name or as grpcurl calls them.
Complaints CheckExamples(const SourceFile& file) {
  if (ExtensionOf(file.path) != ".proto" || IsTest(file.path)) return {};
  static const std::string examples = ExamplesOf(ReadSourceFile(std::string(kApiPage)));
  Complaints complaints;
  for (const std::string& rpc : RpcsOf(file.text)) {
    if (IsNamed(rpc, examples) || IsNamed(absl::StrReplaceAll(rpc, {{".", "/"}}), examples)) {
      continue;
    }
    complaints.push_back(absl::StrCat(rpc, " has no example in ", kApiPage));
  }
  return complaints;
}

struct Rule {
  const char* name;
  std::function<Complaints(const SourceFile&)> check;
  std::vector<SourceFile> caught;  // each must be complained about once
  std::vector<SourceFile> passes;  // none must be
};

void PrintTo(const Rule& rule, std::ostream* out) { *out << rule.name; }

std::string Lines(size_t count) {
  std::string text;
  for (size_t i = 0; i < count; ++i) text += "x\n";
  return text;
}

const Rule kRules[] = {
    {"Length",
     CheckLength,
     {{"a/b.cc", Lines(501)}, {"a/b.py", Lines(501)}},
     {{"a/b.cc", Lines(500)}, {"a/b.json", Lines(501)}}},
    {"Columns",
     CheckColumns,
     {{"a/b.h", "\n" + std::string(101, 'x') + "\n"}},
     {{"a/b.h", std::string(99, 'x') + "\xc3\xa9\n"}}},
    {"Name",
     CheckName,
     {{"a/common.h", ""},
      {"a/string_util.cc", ""},
      {"tests/test_helpers.h", ""},
      {"a/block_manager.h", ""},
      {"a/misc.cc", ""}},
     {{"a/uncommon_key.h", ""}, {"util/a.cc", ""}, {"a/manages.h", ""}}},
    {"Unfinished",
     CheckUnfinished,
     {{"a/b.cc", "// TODO: later\n"},
      {"a/b.py", "# FIXME\n"},
      {"tests/a_test.cc", "TEST(A, DISABLED_B) {}\n"}},
     {{"a/b.cc", "// Done.\n"}, {"a/b.bin", "FIXME"}}},
    {"Environment",
     CheckEnvironment,
     {{"engine/a.cc", "  std::getenv(\"X\");\n"}},
     {{"api/a.cc", "  std::getenv(\"X\");\n"}, {"tests/a.h", "  std::getenv(\"X\");\n"}}},
    {"Friends",
     CheckFriends,
     {{"a/b.h", "  friend class A;\n"}},
     {{"a/b.h", "  friend bool operator==(A, A) = default;\n"}}},
    {"Sleeps",
     CheckSleeps,
     {{"tests/a_test.cc", "  absl::SleepFor(absl::Seconds(1));\n"},
      {"tests/a_test.cc", "  std::this_thread::sleep_for(1s);\n"}},
     {{"bench/a.cc", "  absl::SleepFor(absl::Seconds(1));\n"},
      {"tests/crash/a_test.cc", "  absl::SleepFor(moment_of_the_crash);\n"},
      {"tests/a_test.cc", "  done.WaitForNotification();\n"}}},
    {"Threads",
     CheckThreads,
     {{"a/b.h", "  std::mutex mu_;\n"}, {"a/b.cc", "  thread.detach();\n"}},
     {{"a/b.h", "  absl::Mutex mu_;\n"}, {"a/b.cc", "  thread.join();\n"}}},
    {"WhiteSpace",
     CheckWhiteSpace,
     {{"a/b.cc", "\tint a;\n"}, {"a/b.md", "text \n"}, {"a/b.sh", "true\r\n"}, {"a/b.txt", "text"}},
     {{"a/b.md", "text\n\n  text\n"}, {"a/b.json", "{} \n"}, {"a/b.txt", ""}}},
    {"Size",
     CheckSize,
     {{"a/b.bin", std::string((1 << 20) + 1, 'x')}},
     {{"a/b.bin", std::string(1 << 20, 'x')}}},
    {"Links",
     CheckLinks,
     {{"README.md", "See [this](no/such/file.md#part) and that.\n"},
      {"api/README.md", "[a](api/main.cc)\n"}},
     {{"README.md", "[a](api/main.cc#x) [b](https://a.b/c) [d](#part)\n    v[i](a, b)\n"},
      {"api/README.md", "[a](main.cc) [b](../engine)\n"}}},
    {"Examples",
     CheckExamples,
     {{"a/b.proto", "service Cache {\n  rpc Forget(A) returns (B);\n}\n"},
      {"a/b.proto", "service Cache {\n  rpc Mat(A) returns (B);\n}\n"}},
     {{"a/b.proto", "service Cache {\n  rpc Match(A) returns (B);\n}\n"},
      {"a/b.proto", "service Admin {\n  rpc Drain(A) returns (B);\n}\n"}}},
};

class TidyTest : public testing::TestWithParam<Rule> {};

TEST_P(TidyTest, RuleCatchesWhatItForbidsAndNothingElse) {
  const Rule& rule = GetParam();
  for (const SourceFile& file : rule.caught) {
    EXPECT_THAT(rule.check(file), testing::SizeIs(1)) << file.path;
  }
  for (const SourceFile& file : rule.passes) {
    EXPECT_THAT(rule.check(file), testing::IsEmpty()) << file.path;
  }
}

TEST_P(TidyTest, TreeFollowsTheRule) {
  std::vector<std::string> complaints;
  size_t num_files = 0;
  for (const SourceFile& file : ReadSourceTree()) {
    ++num_files;
    for (const std::string& complaint : GetParam().check(file)) {
      complaints.push_back(absl::StrCat(file.path, ": ", complaint));
    }
  }
  EXPECT_GT(num_files, 150u);
  EXPECT_TRUE(complaints.empty()) << absl::StrJoin(complaints, "\n");
}

INSTANTIATE_TEST_SUITE_P(Rules, TidyTest, testing::ValuesIn(kRules),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace reprise
