#include "api/cli/flag_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <sstream>
#include <string>
#include <vector>

namespace reprise::api {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Output {
  std::ostringstream out;
  std::ostringstream err;
};

TEST(FlagSetTest, RunsTheActionOfTheInnermostCommand) {
  FlagSet program("prog", "test");
  FlagSet& cache = program.AddCommand("cache", "cache");
  std::string ran;
  cache.AddCommand("get", "get").SetAction([&ran] {
    ran = "get";
    return 3;
  });
  cache.AddCommand("put", "put").SetAction([&ran] {
    ran = "put";
    return 4;
  });
  Output output;
  EXPECT_EQ(program.Run({"cache", "put"}, output.out, output.err), 4);
  EXPECT_EQ(ran, "put");
}

TEST(FlagSetTest, ACommandThatNeedsOneBelowItSaysSo) {
  FlagSet program("prog", "test");
  program.AddCommand("cache", "cache").AddCommand("get", "get").SetAction([] { return 0; });
  Output output;
  EXPECT_EQ(program.Run({"cache"}, output.out, output.err), 2);
  EXPECT_THAT(output.err.str(), HasSubstr("prog cache: a command is missing"));
}

TEST(FlagSetTest, AnUnknownCommandIsNamed) {
  FlagSet program("prog", "test");
  program.AddCommand("cache", "cache");
  Output output;
  EXPECT_EQ(program.Run({"cash"}, output.out, output.err), 2);
  EXPECT_THAT(output.err.str(), HasSubstr("cash"));
}

TEST(FlagSetTest, RequiredAndExclusiveFlagsAreHeld) {
  FlagSet program("prog", "test");
  FlagSet& command = program.AddCommand("run", "run");
  std::string a;
  std::string b;
  std::string must;
  command.Add("a", &a, "X", "a");
  command.Add("b", &b, "X", "b");
  command.Add("must", &must, "X", "must");
  command.Exclude("a", "b");
  command.Require("must");
  command.SetAction([] { return 0; });
  Output missing;
  EXPECT_EQ(program.Run({"run"}, missing.out, missing.err), 2);
  EXPECT_THAT(missing.err.str(), HasSubstr("--must"));
  Output both;
  EXPECT_EQ(program.Run({"run", "--must", "1", "--a", "1", "--b", "1"}, both.out, both.err), 2);
  EXPECT_THAT(both.err.str(), HasSubstr("--b"));
  Output good;
  EXPECT_EQ(program.Run({"run", "--must", "1", "--a", "1"}, good.out, good.err), 0);
}

TEST(FlagSetTest, ListsTakeSeveralValuesAndRepetition) {
  FlagSet program("prog", "test");
  FlagSet& command = program.AddCommand("run", "run");
  std::vector<std::string> files;
  std::vector<uint32_t> ids;
  command.Add("file", &files, "FILE...", "files");
  command.Add("id", &ids, "N...", "ids");
  command.SetAction([] { return 0; });
  Output output;
  EXPECT_EQ(
      program.Run({"run", "--file", "x", "y", "--id", "7", "--file", "z"}, output.out, output.err),
      0);
  EXPECT_THAT(files, ElementsAre("x", "y", "z"));
  EXPECT_THAT(ids, ElementsAre(7));
}

}  // namespace
}  // namespace reprise::api
