// The commands that talk to a server, and those that need none, as processes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "api/cli/text_file.h"
#include "tests/fakes/temp_folder.h"
#include "tests/process/child_process.h"

namespace reprise::api {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// One server for all tests.
class CommandsTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TempFolder;
    const CommandResult made =
        RunCommand({"make-model", "--out", *folder_ / "tiny", "--hidden-size", "32", "--layers",
                    "1", "--heads", "4", "--kv-heads", "2", "--intermediate-size", "32",
                    "--max-positions", "1024"});
    ASSERT_EQ(made.exit_code, 0) << made.errors;
    address_ = new std::string("unix:" + (*folder_ / "socket"));
    server_ = new ChildProcess({"serve", "--model", *folder_ / "tiny", "--listen", *address_,
                                "--ram-bytes", "16MiB", "--disk-dir", *folder_ / "disk",
                                "--disk-bytes", "16MiB", "--threads", "1", "--block-tokens", "8"});
    ASSERT_EQ(server_->AwaitLine("listening on "), *address_);
  }
  static void TearDownTestSuite() {
    delete server_;
    delete address_;
    delete folder_;
  }

  static std::string Path(const std::string& name) { return *folder_ / name; }
  static std::string Write(const std::string& name, const std::string& text) {
    EXPECT_TRUE(WriteFile(Path(name), text).ok());
    return Path(name);
  }

  static const std::string& Address() { return *address_; }

  // Runs a command against the server.
  static CommandResult Call(std::vector<std::string> args, const std::string& input = "") {
    args.push_back("--server");
    args.push_back(*address_);
    return RunCommand(args, input);
  }

 private:
  static TempFolder* folder_;
  static std::string* address_;
  static ChildProcess* server_;
};

TempFolder* CommandsTest::folder_ = nullptr;
std::string* CommandsTest::address_ = nullptr;
ChildProcess* CommandsTest::server_ = nullptr;

TEST_F(CommandsTest, GeneratePrintsTextAndASummary) {
  const CommandResult result =
      Call({"generate", "--prompt", "Once upon a time", "--max-new-tokens", "9", "--ignore-eos"});
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_GT(result.output.size(), 1u);
  EXPECT_THAT(result.errors, AllOf(HasSubstr("prompt 16 tokens"), HasSubstr("9 new tokens"),
                                   HasSubstr("ram 0, disk 0")));
}

TEST_F(CommandsTest, GenerateTakesItsPromptFromStdinAndPrintsJson) {
  const CommandResult result =
      Call({"generate", "--json", "--max-new-tokens", "5", "--ignore-eos"}, "from a pipe");
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  const nlohmann::json json = nlohmann::json::parse(result.output);
  EXPECT_EQ(json["prompt_tokens"], 11);
  EXPECT_EQ(json["new_tokens"], 5);
  EXPECT_EQ(json["token_ids"].size(), 5u);
  EXPECT_EQ(json["finish_reason"], "max tokens");
  EXPECT_EQ(json["cached_tokens"]["disk"], 0);
}

TEST_F(CommandsTest, GeneratePrintsEverySample) {
  const std::vector<std::string> call = {"generate", "--prompt",         "Once", "--samples",
                                         "3",        "--max-new-tokens", "4",    "--ignore-eos"};
  const CommandResult text = Call(call);
  EXPECT_EQ(text.exit_code, 0) << text.errors;
  EXPECT_THAT(text.output, AllOf(HasSubstr("[sample 0]"), HasSubstr("[sample 2]")));
  std::vector<std::string> for_json = call;
  for_json.push_back("--json");
  const CommandResult result = Call(for_json);
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  const nlohmann::json json = nlohmann::json::parse(result.output);
  EXPECT_EQ(json["new_tokens"], 12);
  ASSERT_EQ(json["samples"].size(), 3u);
  for (const auto& sample : json["samples"]) {
    EXPECT_EQ(sample["token_ids"], json["samples"][0]["token_ids"]);  // greedy
    EXPECT_EQ(sample["finish_reason"], "max tokens");
  }
}

TEST_F(CommandsTest, GenerateRefusesMoreSamplesThanAServerGives) {
  const CommandResult result = Call({"generate", "--prompt", "Once", "--samples", "2000000000"});
  EXPECT_NE(result.exit_code, 0);
  EXPECT_THAT(result.errors, HasSubstr("2000000000 is too large; at most 32"));
}

TEST_F(CommandsTest, GenerateTakesALogitBiasAndPrintsLogprobs) {
  const CommandResult result =
      Call({"generate", "--prompt", "Once", "--json", "--max-new-tokens", "3", "--ignore-eos",
            "--logit-bias", "65=100", "66=-100", "--logprobs", "4"});
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  const nlohmann::json json = nlohmann::json::parse(result.output);
  EXPECT_EQ(json["token_ids"], (std::vector<int>{65, 65, 65}));
  ASSERT_EQ(json["logprobs"].size(), 3u);
  EXPECT_LT(json["logprobs"][0]["logprob"], 0);
  ASSERT_EQ(json["logprobs"][0]["top"].size(), 4u);
  EXPECT_GE(json["logprobs"][0]["top"][0]["logprob"], json["logprobs"][0]["top"][1]["logprob"]);

  const CommandResult wrong = Call({"generate", "--prompt", "x", "--logit-bias", "A=100"});
  EXPECT_EQ(wrong.exit_code, 1);
  EXPECT_THAT(wrong.errors, HasSubstr("\"A=100\" is not a token id and a number"));
}

TEST_F(CommandsTest, ErrorsOfTheServerAreOneLineAndExitCode1) {
  const CommandResult result = Call({"generate", "--prompt", std::string(2000, 'x')});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.errors,
              AllOf(HasSubstr("reprise generate: "), HasSubstr("2000"), HasSubstr("1024")));
  EXPECT_EQ(result.output, "");
  const CommandResult unreachable =
      RunCommand({"cache", "stat", "--server", "unix:" + Path("nobody")});
  EXPECT_EQ(unreachable.exit_code, 1);
  EXPECT_THAT(unreachable.errors,
              AllOf(HasSubstr("no server answers at unix:"), HasSubstr("nobody")));
}

TEST_F(CommandsTest, AServerThatCannotBeUsedIsExplainedInTermsOfFlags) {
  for (const std::string address : {"127.0.0.1", "http://127.0.0.1:50051"}) {
    const CommandResult result = RunCommand({"cache", "stat", "--server", address});
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_THAT(result.errors,
                AllOf(HasSubstr("--server: "), HasSubstr(address), HasSubstr("HOST:PORT")));
  }
  EXPECT_THAT(Call({"cache", "stat", "--tls-ca", Write("no.pem", "no PEM")}).errors,
              HasSubstr("no.pem holds no certificate in PEM"));
  const CommandResult no_admin = RunCommand({"cache", "verify", "--admin-server", Address()});
  EXPECT_EQ(no_admin.exit_code, 1);
  EXPECT_THAT(no_admin.errors, AllOf(HasSubstr(Address() + " offers no Admin service"),
                                     HasSubstr("--admin-listen")));
}

TEST_F(CommandsTest, ChatReadsTurnsFromAPipeAndReusesTheTurnsBefore) {
  const CommandResult result = Call({"chat", "--system", "You are brief and to the point.",
                                     "--max-new-tokens", "8", "--ignore-eos"},
                                    "What is a block?\nAnd a slot?\n/quit\nnever sent\n");
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  std::vector<std::string> summaries;
  std::istringstream lines(result.errors);
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("[prompt", 0) == 0) summaries.push_back(line);
  }
  ASSERT_EQ(summaries.size(), 2u) << result.errors;
  EXPECT_THAT(summaries[0], HasSubstr("cached 0 (ram 0, disk 0)"));
  EXPECT_THAT(summaries[1], Not(HasSubstr("cached 0 ")));
  EXPECT_THAT(summaries[1], AllOf(HasSubstr("first token"), HasSubstr("tokens/s")));
}

TEST_F(CommandsTest, ChatSendsToolsAndThinking) {
  const auto chat = [](const std::string& tools) {
    return Call(
        {"chat", "--no-thinking", "--tools", Write("tools.json", tools), "--max-new-tokens", "2"},
        "Hi\n");
  };
  const CommandResult result = chat("[{\"name\": \"f\"}]\n");
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  const CommandResult refused = chat("[0.5]");
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.errors, HasSubstr("0.5 is not whole"));
}

TEST_F(CommandsTest, ChatForgetsTheConversationOnRequest) {
  const CommandResult result = Call({"chat", "--max-new-tokens", "4", "--no-cache"},
                                    "First question?\n/new\nFirst question?\n");
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  std::istringstream lines(result.errors);
  std::string first;
  std::string second;
  std::getline(lines, first);
  std::getline(lines, second);
  const auto prompt_of = [](const std::string& line) { return line.substr(0, line.find(',')); };
  EXPECT_THAT(first, HasSubstr("[prompt"));
  EXPECT_EQ(prompt_of(first), prompt_of(second));
}

TEST_F(CommandsTest, BlocksGoInAndOutThroughFiles) {
  const CommandResult identity = Call({"cache", "identity", "--tenant", "files"});
  ASSERT_EQ(identity.exit_code, 0) << identity.errors;
  const std::string ns = Write("ns.json", identity.output);
  const size_t block_bytes = 2 * 1 * 2 * 8 * 8 * 4;  // K and V, layers, heads, tokens, dims, bytes
  std::vector<std::string> payloads;
  std::string tokens;
  for (int b = 0; b < 3; ++b) {
    payloads.push_back(std::string(block_bytes, static_cast<char>('a' + b)));
    Write("in-" + std::to_string(b), payloads.back());
    for (int t = 0; t < 8; ++t) tokens += std::to_string(b * 8 + t) + " ";
  }
  const std::string ids = Write("ids.txt", tokens);
  CommandResult put = Call({"cache", "put", "--namespace-json", ns, "--tokens-file", ids,
                            "--payload", Path("in-0"), Path("in-1")});
  EXPECT_EQ(put.exit_code, 0) << put.errors;
  EXPECT_THAT(put.output, HasSubstr("stored 2 of 2"));
  put = Call({"cache", "put", "--namespace-json", ns, "--tokens-file", ids, "--skip-blocks", "2",
              "--payload", Path("in-2")});
  EXPECT_EQ(put.exit_code, 0) << put.errors;
  const CommandResult match =
      Call({"cache", "match", "--namespace-json", ns, "--tokens-file", ids});
  EXPECT_THAT(match.output, ::testing::ContainsRegex("ram +3 +24"));
  const CommandResult get =
      Call({"cache", "get", "--namespace-json", ns, "--tokens-file", ids, "--out", Path("blocks")});
  EXPECT_EQ(get.exit_code, 0) << get.errors;
  EXPECT_THAT(get.output, HasSubstr("got 3 blocks"));
  for (int b = 0; b < 3; ++b) {
    EXPECT_EQ(*ReadFile(Path("blocks/block-00000" + std::to_string(b) + ".kv")),
              payloads[static_cast<size_t>(b)]);
  }
  const CommandResult invalidate = Call(
      {"cache", "invalidate", "--scope", "prefix", "--namespace-json", ns, "--tokens-file", ids});
  EXPECT_EQ(invalidate.exit_code, 0) << invalidate.errors;
  EXPECT_THAT(invalidate.output, HasSubstr("took 1 blocks from RAM"));
  EXPECT_THAT(Call({"cache", "match", "--namespace-json", ns, "--tokens-file", ids}).output,
              ::testing::ContainsRegex("ram +2 +16"));
}

TEST_F(CommandsTest, BlocksGoInAndOutByExternalKeys) {
  std::string identity = Call({"cache", "identity", "--tenant", "external"}).output;
  const size_t at = identity.find("KEY_SOURCE_TOKENS");
  ASSERT_NE(at, std::string::npos) << identity;
  const std::string ns = Write("ns.json", identity.replace(at, 17, "KEY_SOURCE_EXTERNAL"));
  const std::string payload(2 * 1 * 2 * 8 * 8 * 4, 'x');
  const std::string first(64, '1');
  const std::string second = std::string(62, '2') + "ab";
  const CommandResult put = Call({"cache", "put", "--namespace-json", ns, "--external-keys", first,
                                  second, "--payload", Write("a", payload), Write("b", payload)});
  EXPECT_EQ(put.exit_code, 0) << put.errors;
  EXPECT_THAT(put.output, HasSubstr("stored 2 of 2"));
  EXPECT_THAT(
      Call({"cache", "match", "--namespace-json", ns, "--external-keys", first, second}).output,
      ::testing::ContainsRegex("ram +2 +16"));
  const CommandResult get = Call({"cache", "get", "--namespace-json", ns, "--external-keys", first,
                                  second, "--out", Path("external")});
  EXPECT_THAT(get.output, HasSubstr("got 2 blocks"));
  const CommandResult wrong =
      Call({"cache", "match", "--namespace-json", ns, "--external-keys", "12"});
  EXPECT_NE(wrong.exit_code, 0);
  EXPECT_THAT(wrong.errors, HasSubstr("64 hex digits, not 2"));
}

TEST_F(CommandsTest, APayloadOfTheWrongSizeFailsWithBothSizes) {
  const std::string ids = Write("eight.txt", "1 2 3 4 5 6 7 8");
  const CommandResult put = Call({"cache", "put", "--tenant", "wrong", "--tokens-file", ids,
                                  "--payload", Write("short", "short")});
  EXPECT_EQ(put.exit_code, 1);
  EXPECT_THAT(put.errors, AllOf(HasSubstr("5 bytes"), HasSubstr("1024")));
  EXPECT_THAT(put.output, HasSubstr("stored 0 of 1"));
}

TEST_F(CommandsTest, DemoteAndStatShowWhereBlocksAre) {
  const std::string prompt = Write("prompt.txt", std::string(80, 'q'));
  ASSERT_EQ(Call({"generate", "--prompt-file", prompt, "--max-new-tokens", "1"}).exit_code, 0);
  const CommandResult demote = Call({"cache", "demote"});
  EXPECT_EQ(demote.exit_code, 0) << demote.errors;
  EXPECT_THAT(demote.output, HasSubstr("blocks from RAM to disk"));
  const CommandResult match = Call({"cache", "match", "--text-file", prompt});
  EXPECT_THAT(match.output, ::testing::ContainsRegex("disk +10 +80"));
  const CommandResult stat = Call({"cache", "stat", "--json"});
  const nlohmann::json json = nlohmann::json::parse(stat.output);
  EXPECT_EQ(json["store"]["ram_blocks"], 0);
  EXPECT_GE(json["store"]["disk_blocks"], 10);
  EXPECT_GE(json["engine"]["finished_requests"], 1);
  EXPECT_THAT(Call({"cache", "stat"}).output,
              ::testing::ContainsRegex("disk_capacity_bytes +16,777,216"));
}

TEST(StandaloneCommandsTest, SizeComputesKvMemory) {
  const CommandResult one =
      RunCommand({"size", "--model", "llama-7b", "--tokens", "4096", "--dtype", "fp16"});
  EXPECT_EQ(one.exit_code, 0) << one.errors;
  EXPECT_THAT(one.output, AllOf(HasSubstr("2,147,483,648"), HasSubstr("2.00 GiB"), HasSubstr("MHA"),
                                HasSubstr("MQA")));
  const CommandResult batch = RunCommand({"size", "--model", "llama-7b", "--batch", "32"});
  EXPECT_THAT(batch.output, HasSubstr("64.00 GiB"));
  const CommandResult unknown = RunCommand({"size", "--model", "no-such-model"});
  EXPECT_EQ(unknown.exit_code, 1);
  EXPECT_THAT(unknown.errors, HasSubstr("llama-7b"));
}

TEST(StandaloneCommandsTest, MakeModelLeavesAModelAlone) {
  const TempFolder folder;
  const std::vector<std::string> args = {
      "make-model", "--out",   folder / "m", "--hidden-size", "32", "--layers",
      "1",          "--heads", "4",          "--kv-heads",    "2",  "--intermediate-size",
      "32"};
  EXPECT_EQ(RunCommand(args).exit_code, 0);
  const CommandResult again = RunCommand(args);
  EXPECT_EQ(again.exit_code, 1);
  EXPECT_THAT(again.errors, HasSubstr("config.json"));
}

TEST(StandaloneCommandsTest, WrongUsageIsExitCode2AndOneLineThatNamesTheFlag) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"cache", "match"}, "--tokens-file or --text-file"},
      {{"cache", "match", "--text-file", "a", "--tokens-file", "b"}, "excludes"},
      {{"cache", "put", "--tokens-file", "ids"}, "--payload"},
      {{"cache", "get", "--tokens-file", "ids", "--out", "d", "--first-block", "-1"},
       "--first-block"},
      {{"cache", "stat", "--timeout", "-1"}, "--timeout"},
      {{"generate", "--max-new-tokens", "0"}, "--max-new-tokens"},
      {{"chat", "--top-k", "-1"}, "--top-k"},
      {{"size", "--model", "gpt2", "--dtype", "x"}, "\"x\""},
      {{"size", "--model", "gpt2", "--tokens", "0"}, "--tokens"},
      {{"size"}, "--model"},
      {{"make-model", "--out", "d", "--dtype", "fp8"}, "\"fp8\""},
      {{"make-model", "--out", "d", "--family", "bert"}, "\"bert\""},
      {{"make-model", "--out", "d", "--heads", "0"}, "heads"},
      {{"bench", "decode", "--steps", "8", "4"}, "ascend"},
      {{"bench", "decode", "--steps", "0"}, "--steps"},
      {{"no-such-command"}, "no-such-command"}};
  for (const auto& [args, cause] : cases) {
    const CommandResult result = RunCommand(args);
    const std::string command = ::testing::PrintToString(args);
    EXPECT_EQ(result.exit_code, 2) << command;
    EXPECT_EQ(result.output, "") << command;
    EXPECT_THAT(result.errors, HasSubstr(cause)) << command;
  }
}

TEST(StandaloneCommandsTest, EveryCommandHasHelpWithExamplesIn100Columns) {
  const std::vector<std::vector<std::string>> commands = {{"serve"},
                                                          {"chat"},
                                                          {"generate"},
                                                          {"cache", "top"},
                                                          {"cache", "stat"},
                                                          {"cache", "explain"},
                                                          {"cache", "warm"},
                                                          {"cache", "verify"},
                                                          {"cache", "match"},
                                                          {"cache", "put"},
                                                          {"cache", "get"},
                                                          {"cache", "demote"},
                                                          {"cache", "invalidate"},
                                                          {"cache", "identity"},
                                                          {"size"},
                                                          {"make-model"},
                                                          {"bench"},
                                                          {"bench", "chat"},
                                                          {"bench", "decode"},
                                                          {"bench", "store"},
                                                          {"bench", "disk"},
                                                          {"bench", "sampling"}};
  for (std::vector<std::string> command : commands) {
    command.push_back("--help");
    const CommandResult help = RunCommand(command);
    EXPECT_EQ(help.exit_code, 0);
    EXPECT_THAT(help.output, HasSubstr("Examples:")) << command[0];
    std::istringstream lines(help.output);
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100u) << line;
  }
}

}  // namespace
}  // namespace reprise::api
