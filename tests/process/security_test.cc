// The real binary with credentials: the token that `reprise credential` makes, reload by SIGHUP,
// the end by Admin.Drain, and no secret in anything that is printed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "api/client/cache_client.h"
#include "reprise/v1/admin.grpc.pb.h"
#include "tests/fakes/temp_folder.h"
#include "tests/process/child_process.h"

namespace reprise::api {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr absl::Duration kTimeout = absl::Seconds(60);
constexpr char kReady[] = "listening on ";

class SecurityProcessTest : public ::testing::Test {
 protected:
  // The token and, in `table`, what goes into the file.
  static std::string MakeCredential(const std::vector<std::string>& flags, std::string* table) {
    std::vector<std::string> args = {"credential"};
    args.insert(args.end(), flags.begin(), flags.end());
    const CommandResult made = RunCommand(args);
    EXPECT_EQ(made.exit_code, 0) << made.errors;
    *table = made.output;
    for (const absl::string_view line : absl::StrSplit(made.errors, '\n')) {
      if (absl::StartsWith(line, "reprise_")) return std::string(line);
    }
    return "";
  }

  void WriteFile(const std::string& text) {
    std::ofstream(file()) << text;
    ASSERT_EQ(chmod(file().c_str(), 0600), 0);
  }
  std::string file() const { return folder_ / "credentials.toml"; }
  std::string audit_log() const { return folder_ / "audit.jsonl"; }
  std::string AuditText() const {
    std::stringstream text;
    text << std::ifstream(audit_log()).rdbuf();
    return text.str();
  }

  std::vector<std::string> Flags() const {
    return {"serve",
            "--listen",
            "127.0.0.1:0",
            "--ram-bytes",
            "16MiB",
            "--credentials",
            file(),
            "--audit-log",
            audit_log(),
            "--admin-listen",
            "unix:" + (folder_ / "admin")};
  }

  TempFolder folder_;
};

TEST_F(SecurityProcessTest, ATokenIsMadeUsedTakenBackAndNeverPrinted) {
  std::string of_ops;
  std::string of_alice;
  const std::string ops = MakeCredential({"--name", "ops", "--role", "admin"}, &of_ops);
  const std::string alice = MakeCredential({"--name", "web", "--tenant", "alice"}, &of_alice);
  ASSERT_EQ(ops.size(), 51u);
  EXPECT_THAT(of_ops, AllOf(HasSubstr("[[credentials]]"), Not(HasSubstr(ops))));
  WriteFile(of_ops + of_alice);
  ChildProcess server(Flags());
  const std::string address = server.AwaitLine(kReady);
  CacheClient operator_client(address, {.token = ops});
  CacheClient web(address, {.token = alice});
  EXPECT_TRUE(operator_client.Stats(kTimeout).ok());
  EXPECT_EQ(web.Match(7, {}, kTimeout).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(CacheClient(address).Stats(kTimeout).status().code(),
            absl::StatusCode::kUnauthenticated);
  // Taken back; the audit log is rotated by the same signal.
  WriteFile(of_ops);
  std::filesystem::rename(audit_log(), audit_log() + ".1");
  server.Signal(SIGHUP);
  EXPECT_EQ(server.AwaitLine("reloaded "), "1 credentials");
  EXPECT_EQ(web.Match(7, {}, kTimeout).status().code(), absl::StatusCode::kUnauthenticated);
  EXPECT_TRUE(operator_client.Stats(kTimeout).ok());
  EXPECT_THAT(AuditText(), AllOf(HasSubstr("SIGHUP"), HasSubstr("UNAUTHENTICATED")));
  // What is wrong is said, and nothing changes.
  WriteFile(alice + " = 1");
  server.Signal(SIGHUP);
  grpc::ClientContext context;
  v1::DrainResponse drained;
  const auto admin = v1::Admin::NewStub(ConnectTo("unix:" + (folder_ / "admin"), {.token = ops}));
  while (!absl::StrContains(AuditText(), "INVALID_ARGUMENT")) {
    ASSERT_TRUE(operator_client.Stats(kTimeout).ok());
  }
  ASSERT_TRUE(admin->Drain(&context, {}, &drained).ok());
  server.AwaitLine("shutting down");
  EXPECT_EQ(server.Wait(), 0);
  const std::string errors = server.ReadErrors();
  EXPECT_THAT(errors, HasSubstr("warning: not reloaded"));
  for (const std::string& secret : {ops, alice}) {
    for (const std::string& text : {server.ReadAll(), errors, AuditText()}) {
      EXPECT_THAT(text, Not(HasSubstr(secret.substr(8))));
    }
  }
}

TEST_F(SecurityProcessTest, CommandsShowATokenWhereNobodyReadsAlong) {
  std::string table;
  const std::string token = MakeCredential({"--name", "ops", "--role", "admin"}, &table);
  WriteFile(table);
  ChildProcess server(Flags());
  const std::string address = server.AwaitLine(kReady);
  const std::string token_file = folder_ / "ops.token";
  std::ofstream(token_file) << token << "\n";
  ASSERT_EQ(chmod(token_file.c_str(), 0600), 0);
  const auto stat = [](const std::string& server, const std::vector<std::string>& more) {
    std::vector<std::string> args = {"cache", "stat", "--server", server};
    args.insert(args.end(), more.begin(), more.end());
    return RunCommand(args);
  };
  EXPECT_THAT(stat(address, {}).errors,
              AllOf(HasSubstr("needs a credential"), HasSubstr("--token-file")));
  EXPECT_EQ(stat(address, {"--token-file", token_file}).exit_code, 0);
  EXPECT_EQ(stat(address, {"--token", token}).exit_code, 0);
  ASSERT_EQ(setenv("REPRISE_TOKEN", token.c_str(), 1), 0);
  EXPECT_EQ(stat(address, {}).exit_code, 0);
  EXPECT_THAT(stat("192.0.2.1:50051", {"--timeout", "1"}).errors,
              AllOf(HasSubstr("for all to read"), HasSubstr("--tls-ca"), Not(HasSubstr(token))));
  unsetenv("REPRISE_TOKEN");
  const CommandResult sessions =
      RunCommand({"cache", "sessions", "--admin-server", "unix:" + (folder_ / "admin"),
                  "--token-file", token_file});
  EXPECT_EQ(sessions.exit_code, 0) << sessions.errors;
  ASSERT_EQ(chmod(token_file.c_str(), 0644), 0);
  EXPECT_THAT(stat(address, {"--token-file", token_file}).errors, HasSubstr("chmod 600"));
  // What was refused above is a line of the server's log, without the token.
  server.Signal(SIGTERM);
  EXPECT_EQ(server.Wait(), 0);
  const std::string log = server.ReadErrors();
  EXPECT_THAT(log, AllOf(HasSubstr(" info call rpc=reprise.v1.Cache/Stats status=UNAUTHENTICATED"),
                         Not(HasSubstr(token.substr(8)))));
}

TEST_F(SecurityProcessTest, WhatWouldLetAnybodyInIsRefused) {
  const auto expect_refused = [](const std::vector<std::string>& flags, int exit_code,
                                 const std::string& cause) {
    const CommandResult result = RunCommand(flags);
    EXPECT_EQ(result.exit_code, exit_code);
    EXPECT_THAT(result.errors, HasSubstr(cause));
  };
  WriteFile("");
  ASSERT_EQ(chmod(file().c_str(), 0644), 0);
  expect_refused(Flags(), 1, "chmod 600");
  expect_refused(
      {"serve", "--listen", "0.0.0.0:0", "--credentials", file(), "--allow-insecure-remote"}, 2,
      "--tls-cert");
  expect_refused({"serve", "--admin-listen", "0.0.0.0:0"}, 2, "--admin-listen");
  expect_refused({"serve", "--listen", "0.0.0.0:0", "--tls-cert", "c", "--tls-key", "k"}, 2,
                 "no authentication");
  expect_refused({"serve", "--tls-cert", "c"}, 2, "--tls-key");
  expect_refused({"credential", "--name", "web"}, 1, "credential: credential web has no tenant");
  expect_refused({"credential", "--name", "a b", "--tenant", "c"}, 1, "name must be");
}

}  // namespace
}  // namespace reprise::api
