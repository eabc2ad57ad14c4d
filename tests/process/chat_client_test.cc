// The chat client in Python that the README shows, as it is, against a real server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "api/cli/text_file.h"
#include "tests/fakes/temp_folder.h"
#include "tests/process/child_process.h"

namespace reprise::api {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

const std::string kRoot = REPRISE_SOURCE_DIR;
const std::string kClient = kRoot + "/deploy/chat_client.py";
// tests/run.sh makes it.
const std::string kPython = kRoot + "/build/venv/bin/python";
// Builds the package with it, into a folder; ends with kSkipped when it lacks something.
const std::string kInstall = kRoot + "/tests/python/run.sh";
constexpr int kSkipped = 77;

TEST(ChatClientTest, TheReadmeShowsItWordForWord) {
  EXPECT_THAT(*ReadFile(kRoot + "/README.md"),
              HasSubstr(absl::StrCat("```python\n", *ReadFile(kClient), "```\n")));
}

TEST(ChatClientTest, TheSecondTurnReusesTheFirst) {
  const TempFolder folder;
  const CommandResult installed = RunCommand({folder / "", "install"}, "", kInstall);
  if (installed.exit_code == kSkipped) GTEST_SKIP() << installed.errors;
  ASSERT_EQ(installed.exit_code, 0) << installed.errors;
  const CommandResult made =
      RunCommand({"make-model", "--out", folder / "tiny", "--hidden-size", "32", "--layers", "1",
                  "--heads", "4", "--kv-heads", "2", "--intermediate-size", "32"});
  ASSERT_EQ(made.exit_code, 0) << made.errors;
  ChildProcess server({"serve", "--model", folder / "tiny", "--listen", "127.0.0.1:0",
                       "--ram-bytes", "16MiB", "--threads", "1", "--block-tokens", "8"});
  const std::string address = server.AwaitLine("listening on ");
  ASSERT_NE(address, "");
  // A proxy that nobody listens on: the client must not ask it.
  const CommandResult chat =
      RunCommand({"PYTHONPATH=" + (folder / "python"), "http_proxy=http://127.0.0.1:9", kPython,
                  kClient, address},
                 "What is a block?\nAnd a slot?\n", "/usr/bin/env");
  EXPECT_EQ(chat.exit_code, 0) << chat.errors;
  EXPECT_EQ(chat.errors, "");
  EXPECT_THAT(chat.output,
              AllOf(ContainsRegex("\n\\[0 of [0-9]+ tokens were cached\\]\n> "),
                    ContainsRegex("\n\\[[1-9][0-9]+ of [0-9]+ tokens were cached\\]\n> ")));
}

TEST(ChatClientTest, WhereNoServerAnswersItSaysSoInOneLine) {
  const TempFolder folder;
  const CommandResult installed = RunCommand({folder / "", "install"}, "", kInstall);
  if (installed.exit_code == kSkipped) GTEST_SKIP() << installed.errors;
  ASSERT_EQ(installed.exit_code, 0) << installed.errors;
  const std::string nobody = "unix:" + (folder / "nobody");
  for (const auto& [address, cause] :
       {std::pair(nobody, nobody + ": "),
        std::pair(std::string("127.0.0.1"), std::string("is not HOST:PORT"))}) {
    const CommandResult chat = RunCommand(
        {"PYTHONPATH=" + (folder / "python"), kPython, kClient, address}, "Hi\n", "/usr/bin/env");
    EXPECT_EQ(chat.exit_code, 1);
    EXPECT_THAT(chat.errors, AllOf(HasSubstr(cause), Not(HasSubstr("Traceback"))));
  }
}

}  // namespace
}  // namespace reprise::api
