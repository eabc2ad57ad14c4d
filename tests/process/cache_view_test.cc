// The commands that show what a server has cached and move it, as processes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "api/cli/text_file.h"
#include "tests/fakes/temp_folder.h"
#include "tests/process/child_process.h"

namespace reprise::api {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// A server with the demo model, an Admin listener and 32 cached tokens in blocks of 8.
class CacheViewTest : public ::testing::Test {
 protected:
  CacheViewTest() {
    const CommandResult made = RunCommand({"make-model", "--out", folder_ / "tiny", "--hidden-size",
                                           "32", "--layers", "1", "--heads", "4", "--kv-heads", "2",
                                           "--intermediate-size", "32", "--max-positions", "256"});
    EXPECT_EQ(made.exit_code, 0) << made.errors;
    server_ = std::make_unique<ChildProcess>(Serve("disk", "socket", "admin"));
    EXPECT_EQ(server_->AwaitLine("listening on "), Address("socket"));
    EXPECT_TRUE(WriteFile(prompt_, std::string(40, 'x')).ok());
    const CommandResult generated =
        Call({"generate", "--prompt-file", prompt_, "--max-new-tokens", "1", "--ignore-eos"});
    EXPECT_EQ(generated.exit_code, 0) << generated.errors;
  }

  std::string Address(const std::string& socket) { return "unix:" + (folder_ / socket); }
  std::vector<std::string> Serve(const std::string& disk, const std::string& socket,
                                 const std::string& admin) {
    return {"serve",
            "--model",
            folder_ / "tiny",
            "--listen",
            Address(socket),
            "--admin-listen",
            Address(admin),
            "--ram-bytes",
            "16MiB",
            "--disk-dir",
            folder_ / disk,
            "--disk-bytes",
            "16MiB",
            "--threads",
            "1",
            "--block-tokens",
            "8"};
  }
  CommandResult Call(std::vector<std::string> args, const std::string& socket = "socket") {
    args.insert(args.end(), {"--server", Address(socket)});
    return RunCommand(args);
  }
  CommandResult Operate(std::vector<std::string> args) {
    args.insert(args.end(), {"--admin-server", Address("admin")});
    return RunCommand(args);
  }

  TempFolder folder_;
  const std::string prompt_ = folder_ / "prompt.txt";
  std::unique_ptr<ChildProcess> server_;
};

TEST_F(CacheViewTest, ExplainLsAndUsageShowWhatIsCached) {
  const CommandResult explained = Call({"cache", "explain", "--text-file", prompt_});
  EXPECT_EQ(explained.exit_code, 0) << explained.errors;
  EXPECT_THAT(explained.output,
              AllOf(HasSubstr("verdict"), HasSubstr("ram"), HasSubstr("blocks are cached")));
  const CommandResult json = Call({"cache", "explain", "--text-file", prompt_, "--json"});
  EXPECT_EQ(nlohmann::json::parse(json.output)["blocks"][0]["verdict"], "BLOCK_VERDICT_RAM");

  const CommandResult list = Call({"cache", "ls"});
  EXPECT_EQ(list.exit_code, 0) << list.errors;
  EXPECT_THAT(list.output, AllOf(HasSubstr("default"), HasSubstr(" blocks")));
  const CommandResult one =
      Call({"cache", "ls", "--one-namespace", "--limit", "1", "--json", "--with-tokens"});
  EXPECT_EQ(nlohmann::json::parse(one.output)["token_ids"].size(), 8u);
  // As the table has it: numbers, also 0, and keys in hex.
  int num_first = 0;
  const CommandResult lines = Call({"cache", "ls", "--json"});
  for (const absl::string_view line : absl::StrSplit(lines.output, '\n', absl::SkipEmpty())) {
    const nlohmann::json block = nlohmann::json::parse(line);
    EXPECT_THAT(list.output, HasSubstr(block["key"].get<std::string>()));
    EXPECT_GT(block["bytes"].get<int64_t>(), 0);
    if (block["depth"] != 0) continue;
    ++num_first;
    EXPECT_EQ(block["parent_key"], "");
  }
  EXPECT_EQ(num_first, 1);

  const CommandResult usage = Call({"cache", "usage", "--all-tenants"});
  EXPECT_EQ(usage.exit_code, 0) << usage.errors;
  EXPECT_THAT(usage.output, AllOf(HasSubstr("(budget)"), HasSubstr("0 sessions hold")));

  const CommandResult watched = Call({"cache", "watch", "--from", "1", "--count", "1"});
  EXPECT_EQ(watched.exit_code, 0) << watched.errors;
  EXPECT_EQ(nlohmann::json::parse(watched.output)["stored"]["medium"], "ram");
}

TEST_F(CacheViewTest, AListEndsAtItsLimit) {
  // Of little memory: its table of keys is small, and blocks lie side by side in it.
  std::vector<std::string> args = Serve("disk2", "socket2", "admin2");
  std::replace(args.begin(), args.end(), std::string("16MiB"), std::string("256KiB"));
  ChildProcess small(args);
  ASSERT_EQ(small.AwaitLine("listening on "), Address("socket2"));
  const std::string longer = folder_ / "longer.txt";
  ASSERT_TRUE(WriteFile(longer, std::string(240, 'y')).ok());
  const CommandResult generated = Call(
      {"generate", "--prompt-file", longer, "--max-new-tokens", "1", "--ignore-eos"}, "socket2");
  ASSERT_EQ(generated.exit_code, 0) << generated.errors;
  // At one of them a page of the server's ends amid blocks that it gives together.
  for (int limit = 1; limit <= 12; ++limit) {
    const CommandResult lines =
        Call({"cache", "ls", "--json", "--limit", absl::StrCat(limit)}, "socket2");
    EXPECT_EQ(std::count(lines.output.begin(), lines.output.end(), '\n'), limit);
  }
  EXPECT_THAT(Call({"cache", "ls", "--limit", "12"}, "socket2").output,
              HasSubstr("12 blocks; there are more"));
  EXPECT_THAT(Call({"cache", "ls", "--limit", "100"}, "socket2").output,
              Not(HasSubstr("there are more")));
}

TEST_F(CacheViewTest, APromptGoesToAnotherServerAsAFile) {
  const std::string file = folder_ / "prompt.kv";
  const CommandResult exported = Call({"cache", "export", "--text-file", prompt_, "--out", file});
  EXPECT_EQ(exported.exit_code, 0) << exported.errors;
  // A byte a token: the model's begin and 39 of the 40 bytes make five blocks of 8.
  EXPECT_THAT(exported.output, HasSubstr("wrote 5 blocks, "));
  ChildProcess other(Serve("disk2", "socket2", "admin2"));
  ASSERT_EQ(other.AwaitLine("listening on "), Address("socket2"));
  const CommandResult imported = Call({"cache", "import", "--file", file, "--json"}, "socket2");
  EXPECT_EQ(imported.exit_code, 0) << imported.errors;
  const CommandResult match = Call({"cache", "explain", "--text-file", prompt_}, "socket2");
  EXPECT_THAT(match.output, HasSubstr("blocks are cached"));
  EXPECT_EQ(nlohmann::json::parse(imported.output)["stored_blocks"], 5);

  std::string damaged = ReadFile(file).value();
  damaged.back() = static_cast<char>(damaged.back() ^ 1);
  ASSERT_TRUE(WriteFile(file, damaged).ok());
  const CommandResult refused = Call({"cache", "import", "--file", file}, "socket2");
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.errors, HasSubstr("the file is damaged at byte"));
}

TEST_F(CacheViewTest, WhatIsNotCachedIsNoFile) {
  const std::string file = folder_ / "nothing.kv";
  const std::string other = folder_ / "other.txt";
  ASSERT_TRUE(WriteFile(other, std::string(40, 'y')).ok());
  const CommandResult exported = Call({"cache", "export", "--text-file", other, "--out", file});
  EXPECT_EQ(exported.exit_code, 1);
  EXPECT_THAT(exported.errors,
              AllOf(HasSubstr("nothing is cached of this prompt"), HasSubstr("cache warm")));
  EXPECT_FALSE(ReadFile(file).ok());
  EXPECT_THAT(Call({"cache", "explain", "--text-file", other}).output,
              HasSubstr("Nothing is cached; block 0 was not stored"));
}

TEST_F(CacheViewTest, AWatchEndsWellWhenItsTimeIsOver) {
  const CommandResult watched = Call({"cache", "watch", "--timeout", "2"});
  EXPECT_EQ(watched.exit_code, 0) << watched.errors;
  EXPECT_EQ(watched.errors, "");
}

TEST_F(CacheViewTest, AFewLookupsAreNotCalledAPrediction) {
  const CommandResult told = Call({"cache", "whatif"});
  EXPECT_EQ(told.exit_code, 0) << told.errors;
  EXPECT_THAT(told.output,
              AllOf(HasSubstr("too few lookups to predict"), ::testing::Not(HasSubstr("%"))));
}

TEST_F(CacheViewTest, OperatorsVerifyTheDiskAndSeeSessions) {
  EXPECT_EQ(Call({"cache", "demote"}).exit_code, 0);
  const CommandResult verified = Operate({"cache", "verify"});
  EXPECT_EQ(verified.exit_code, 0) << verified.errors;
  EXPECT_THAT(verified.output, HasSubstr("0 failed"));
  const CommandResult sessions = Operate({"cache", "sessions"});
  EXPECT_EQ(sessions.exit_code, 0) << sessions.errors;
  EXPECT_THAT(sessions.output, HasSubstr("client"));
  EXPECT_EQ(Operate({"cache", "sessions", "--end", "0123456789abcdef"}).exit_code, 1);
}

TEST_F(CacheViewTest, ARecordingIsBegunOrEnded) {
  const CommandResult neither = Operate({"cache", "record"});
  EXPECT_EQ(neither.exit_code, 2);
  EXPECT_THAT(neither.errors, HasSubstr("--file or --stop is required"));
  EXPECT_EQ(Operate({"cache", "record", "--stop", "--file", "f"}).exit_code, 2);
}

TEST_F(CacheViewTest, TopShowsTiersRatesAndNamespaces) {
  const CommandResult once = Call({"cache", "top", "--once"});
  EXPECT_EQ(once.exit_code, 0) << once.errors;
  EXPECT_THAT(once.output,
              AllOf(HasSubstr("hit rate  now -"), HasSubstr("tier"), HasSubstr("16.00 MiB"),
                    HasSubstr("0 leases"), HasSubstr("running"), HasSubstr("default")));
  EXPECT_THAT(once.output, ::testing::Not(HasSubstr("\x1b"))) << "this is no terminal";
  const CommandResult twice = Call({"cache", "top", "--count", "2", "--interval", "0.1"});
  EXPECT_EQ(twice.exit_code, 0) << twice.errors;
  EXPECT_THAT(twice.output, HasSubstr("0/s")) << "the second look has rates";
}

TEST_F(CacheViewTest, TopGoesOnWhenTheServerIsStartedAnew) {
  // Ends by itself should the server not come back.
  ChildProcess top(
      {"cache", "top", "--server", Address("socket"), "--interval", "0.1", "--count", "600"});
  ASSERT_NE(top.AwaitLine("hit rate"), "");
  server_->Signal(SIGKILL);
  server_->Wait();
  EXPECT_NE(top.AwaitLine("the server is away: "), "");
  server_ = std::make_unique<ChildProcess>(Serve("disk", "socket", "admin"));
  EXPECT_EQ(server_->AwaitLine("listening on "), Address("socket"));
  EXPECT_NE(top.AwaitLine("hit rate"), "");
}

TEST_F(CacheViewTest, WarmComputesWhatIsNotThereYet) {
  const std::string file = folder_ / "chats.jsonl";
  ASSERT_TRUE(
      WriteFile(file, absl::StrCat(R"({"prompt":")", std::string(80, 'y'), "\"}\n\n",
                                   R"({"messages":[{"role":"user","content":"hello you"}]})", "\n"))
          .ok());
  const auto warm = [&] { return Call({"cache", "warm", "--file", prompt_, file, "--json"}); };
  const CommandResult first = warm();
  EXPECT_EQ(first.exit_code, 0) << first.errors;
  EXPECT_THAT(first.errors, HasSubstr("[3 of 3] " + file + ":3"));
  const std::vector<std::string> lines = absl::StrSplit(first.output, '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 3u) << first.output;
  EXPECT_GT(nlohmann::json::parse(lines[0])["cached_tokens"], 0) << "generated before";
  EXPECT_EQ(nlohmann::json::parse(lines[1])["cached_tokens"], 0);
  const nlohmann::json again =
      nlohmann::json::parse(std::vector<std::string>(absl::StrSplit(warm().output, '\n'))[1]);
  EXPECT_GT(again["cached_tokens"], 0);
  EXPECT_EQ(again["cached_tokens"].get<int>() + again["computed_tokens"].get<int>(),
            again["prompt_tokens"].get<int>());
  ASSERT_TRUE(WriteFile(file, "{\"prompt\":\"a\"}\n{\"prompt\":3}\n").ok());
  const CommandResult wrong = warm();
  EXPECT_EQ(wrong.exit_code, 1);
  EXPECT_THAT(wrong.errors, HasSubstr(file + ":2: "));
}

}  // namespace
}  // namespace reprise::api
