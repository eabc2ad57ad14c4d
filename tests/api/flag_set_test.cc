#include "api/cli/flag_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <sstream>
#include <string>
#include <vector>

namespace reprise::api {
namespace {

using ::testing::AllOf;
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
  EXPECT_EQ(output.err.str(), "prog: unknown command \"cash\" (see prog --help)\n");
}

TEST(FlagSetTest, WhatIsUnexpectedIsNamedAsItWasTyped) {
  FlagSet program("prog", "test");
  std::string model;
  FlagSet& serve = program.AddCommand("serve", "serve");
  serve.Add("model", &model, "DIR", "model");
  serve.SetAction([] { return 0; });
  const auto complaint = [&program](const std::vector<std::string>& args) {
    Output output;
    EXPECT_EQ(program.Run(args, output.out, output.err), 2);
    return output.err.str();
  };
  EXPECT_EQ(complaint({"serve", "--modle", "x"}),
            "prog serve: unknown flag --modle (see prog serve --help)\n");
  EXPECT_EQ(complaint({"serve", "--modle=x", "y"}),
            "prog serve: unknown flag --modle (see prog serve --help)\n");
  EXPECT_EQ(complaint({"serve", "--model", "x", "y"}),
            "prog serve: unexpected argument \"y\" (see prog serve --help)\n");
  EXPECT_EQ(complaint({"srve", "--model", "x"}),
            "prog: unknown command \"srve\" (see prog --help)\n");
}

TEST(FlagSetTest, TheVersionIsPrinted) {
  FlagSet program("prog", "test");
  program.AddVersion("prog 1.2.3");
  Output output;
  EXPECT_EQ(program.Run({"--version"}, output.out, output.err), 0);
  EXPECT_EQ(output.out.str(), "prog 1.2.3\n");
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

TEST(FlagSetTest, ListsTakeValuesAsTheyAre) {
  FlagSet program("prog", "test");
  FlagSet& command = program.AddCommand("run", "run");
  std::vector<std::string> stops = {"default"};
  std::vector<uint32_t> ids;
  command.Add("stop", &stops, "TEXT", "stops");
  command.Add("id", &ids, "N...", "ids");
  command.SetAction([] { return 0; });
  Output output;
  EXPECT_EQ(program.Run({"run", "--stop", "[INST]", "[a,b]", "--stop={}", "--stop", "%%", "a b"},
                        output.out, output.err),
            0)
      << output.err.str();
  EXPECT_THAT(stops, ElementsAre("[INST]", "[a,b]", "{}", "%%", "a b"));
  EXPECT_EQ(program.Run({"run", "--id", "[1,2]"}, output.out, output.err), 2);
  EXPECT_THAT(output.err.str(), AllOf(HasSubstr("--id"), HasSubstr("[1,2]")));
}

// A command with flags --a, --b and --n, which may be used as a test says.
class FlagRulesTest : public ::testing::Test {
 protected:
  FlagRulesTest() : program_("prog", "test"), command_(program_.AddCommand("run", "run")) {
    command_.Add("a", &a_, "X", "a");
    command_.Add("b", &b_, "X", "b");
    command_.Add("n", &n_, "N", "n");
    command_.SetAction([] { return 0; });
  }

  // The complaint about `flags`; empty when they are accepted.
  std::string Complaint(std::vector<std::string> flags) {
    flags.insert(flags.begin(), "run");
    Output output;
    const int exit_code = program_.Run(flags, output.out, output.err);
    EXPECT_EQ(exit_code, output.err.str().empty() ? 0 : 2);
    return output.err.str();
  }

  FlagSet program_;
  FlagSet& command_;
  std::string a_ = "one";
  std::string b_;
  int32_t n_ = 1;
};

TEST_F(FlagRulesTest, AFlagMayNeedAnother) {
  command_.Need("a", "b");
  EXPECT_THAT(Complaint({"--a", "1"}), HasSubstr("--a requires --b"));
  EXPECT_EQ(Complaint({"--a", "1", "--b", "1"}), "");
  EXPECT_EQ(Complaint({"--b", "1"}), "");
  EXPECT_EQ(Complaint({}), "");
}

TEST_F(FlagRulesTest, AFlagMayExcludeAValueOfAnother) {
  command_.ExcludeValue("a", "b", "off");
  EXPECT_THAT(Complaint({"--a", "1", "--b", "off"}), HasSubstr("--a excludes --b off"));
  EXPECT_EQ(Complaint({"--a", "1", "--b", "on"}), "");
  EXPECT_EQ(Complaint({"--a", "1"}), "");
  EXPECT_EQ(Complaint({"--b", "off"}), "");
}

TEST_F(FlagRulesTest, OneOfSeveralFlagsMayBeRequired) {
  command_.RequireOneOf({"a", "b"});
  EXPECT_THAT(Complaint({"--n", "1"}), HasSubstr("--a or --b is required"));
  EXPECT_EQ(Complaint({"--a", "1"}), "");
  EXPECT_EQ(Complaint({"--b", "1"}), "");
}

TEST_F(FlagRulesTest, ValuesMayBeRestricted) {
  command_.Choose("a", {"one", "two"});
  command_.AtLeast("n", 1);
  command_.AtMost("n", 32);
  EXPECT_EQ(Complaint({"--a", "two", "--n", "1"}), "");
  EXPECT_THAT(Complaint({"--a", "three"}),
              AllOf(HasSubstr("--a"), HasSubstr("\"three\" is not one of one, two")));
  EXPECT_THAT(Complaint({"--n", "0"}), AllOf(HasSubstr("--n"), HasSubstr("0 is too small")));
  EXPECT_EQ(Complaint({"--n", "32"}), "");
  EXPECT_THAT(Complaint({"--n", "33"}),
              AllOf(HasSubstr("--n"), HasSubstr("33 is too large; at most 32")));
  EXPECT_THAT(Complaint({"--n", "x"}), HasSubstr("x"));
}

}  // namespace
}  // namespace reprise::api
