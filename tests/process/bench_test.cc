// `reprise bench` with a tiny model: that the suites run and report, not what they measure.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "api/cli/text_file.h"
#include "tests/fakes/temp_folder.h"
#include "tests/process/child_process.h"

namespace reprise::api {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;

class BenchTest : public ::testing::Test {
 protected:
  void SetUp() override { MakeModel("tiny", 1, 32, 1024); }

  void MakeModel(const std::string& name, int layers, int width, int positions) {
    const CommandResult made = RunCommand(
        {"make-model", "--out", folder_ / name, "--hidden-size", absl::StrCat(width), "--layers",
         absl::StrCat(layers), "--heads", "4", "--kv-heads", "2", "--intermediate-size",
         absl::StrCat(width), "--max-positions", absl::StrCat(positions)});
    ASSERT_EQ(made.exit_code, 0) << made.errors;
  }

  std::string Write(const std::string& name, const std::string& text) {
    EXPECT_TRUE(WriteFile(folder_ / name, text).ok());
    return folder_ / name;
  }

  // The results that a suite has appended to results.json, by metric.
  std::map<std::string, nlohmann::json> Results() {
    std::map<std::string, nlohmann::json> results;
    const auto text = ReadFile(folder_ / "results.json");
    EXPECT_TRUE(text.ok()) << text.status();
    std::istringstream lines(text.value_or(""));
    for (std::string line; std::getline(lines, line);) {
      const nlohmann::json result = nlohmann::json::parse(line);
      results[result["metric"]] = result;
    }
    return results;
  }

  TempFolder folder_;
};

constexpr char kTwoTurns[] = R"({"system": "%s", "turns": ["Hello?", "And again?"]})";

TEST_F(BenchTest, ChatReusesTheFirstTurnInEveryArmWithTheSameOutput) {
  // So much to compute, a token a byte, that a load is waited for even where its thread is late.
  MakeModel("small", 4, 128, 8192);
  std::string conversation = kTwoTurns;
  conversation.replace(conversation.find("%s"), 2, std::string(6400, 's'));
  const CommandResult result =
      RunCommand({"bench", "chat", "--model", folder_ / "small", "--conversation",
                  Write("conversation.json", conversation), "--max-new-tokens", "4", "--ram-bytes",
                  "64MiB", "--disk-bytes", "64MiB", "--json", folder_ / "results.json"});
  EXPECT_LE(result.exit_code, 1) << result.errors;  // 1: goals need not be met
  // Turn, arm, prompt, RAM, disk, share, TTFT, speed-up, same output.
  EXPECT_THAT(result.output,
              AllOf(ContainsRegex("1 +off +6,[0-9]+ +0 +0 +0\\.0 +[0-9]+ +- +yes"),
                    ContainsRegex("1 +ram +6,[0-9]+ +0 +0 +0\\.0 +[0-9]+ +- +yes"),
                    ContainsRegex("2 +ram +6,[0-9]+ +6,[0-9]+ +0 +9[0-9.]+ +[0-9]+ +[0-9.]+ +yes"),
                    ContainsRegex("2 +disk +6,[0-9]+ +0 +6,[0-9]+ +9[0-9.]+ +[0-9]+ +[0-9.]+ +yes"),
                    ContainsRegex("2 +restart +6,[0-9]+ +0 +6,[0-9]+ +9[0-9.]+")));
  std::map<std::string, nlohmann::json> results = Results();
  for (const std::string arm : {"ram", "disk", "restart"}) {
    EXPECT_EQ(results["chat.same_output." + arm]["ours"], 2) << arm;
    EXPECT_EQ(results["chat.same_output." + arm]["pass"], true) << arm;
    EXPECT_EQ(results["chat.cached_blocks." + arm]["pass"], true) << arm;
    EXPECT_GT(results["chat.ttft_speedup." + arm]["ours"], 0) << arm;
  }
}

TEST_F(BenchTest, ChatNeedsASecondTurn) {
  const CommandResult result =
      RunCommand({"bench", "chat", "--model", folder_ / "tiny", "--conversation",
                  Write("one.json", R"({"system": "s", "turns": ["Hello?"]})")});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.errors, AllOf(HasSubstr("one.json"), HasSubstr("two are needed")));
}

TEST_F(BenchTest, DecodeReportsEveryStepAskedFor) {
  const CommandResult result =
      RunCommand({"bench", "decode", "--model", folder_ / "tiny", "--steps", "4", "8", "--threads",
                  "1", "--json", folder_ / "results.json"});
  EXPECT_EQ(result.exit_code, 0) << result.errors;  // goals are for the usual steps
  EXPECT_THAT(result.output, AllOf(ContainsRegex("\n +4 +[0-9.]+ +[0-9.]+ +[0-9.]+"),
                                   ContainsRegex("\n +8 +[0-9.]+ +[0-9.]+ +[0-9.]+")));
  std::map<std::string, nlohmann::json> results = Results();
  EXPECT_EQ(results["decode.cache_speedup"]["context"]["steps"], "8");
  EXPECT_GT(results["decode.cache_speedup"]["ours"], 0);
  EXPECT_EQ(results["decode.time_per_token_growth"]["unit"], "ratio");
  EXPECT_GT(results["decode.cached_time_per_token"]["limit"], 0);
}

TEST_F(BenchTest, AFolderThatCannotBeUsedIsOneLine) {
  for (const auto& [args, cause] : {
           std::pair(std::vector<std::string>{"TMPDIR=/no/such", REPRISE_BINARY, "bench", "decode"},
                     "no folder for temporary files"),
           std::pair(std::vector<std::string>{REPRISE_BINARY, "bench", "disk", "--directory",
                                              folder_ / "none"},
                     "none: No such file"),
       }) {
    const CommandResult result = RunCommand(args, "", "/usr/bin/env");
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_THAT(result.errors, HasSubstr(cause));
    EXPECT_EQ(result.errors.find('\n'), result.errors.size() - 1) << result.errors;
  }
}

}  // namespace
}  // namespace reprise::api
