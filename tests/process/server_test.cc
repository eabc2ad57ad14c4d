// The real binary as a server: what it prints, how it ends, what survives it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "api/client/cache_client.h"
#include "api/client/channel.h"
#include "api/client/inference_client.h"
#include "engine/backend/cuda/open_card.h"
#include "reprise/v1/admin.grpc.pb.h"
#include "tests/fakes/temp_folder.h"
#include "tests/process/child_process.h"

namespace reprise::api {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr absl::Duration kTimeout = absl::Seconds(60);
constexpr char kReady[] = "listening on ";

class ServerProcessTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    models_ = new TempFolder;
    const CommandResult made = RunCommand(
        {"make-model", "--out", Model(), "--hidden-size", "32", "--layers", "1", "--heads", "4",
         "--kv-heads", "2", "--intermediate-size", "32", "--max-positions", "65536"});
    ASSERT_EQ(made.exit_code, 0) << made.errors;
  }
  static void TearDownTestSuite() { delete models_; }
  static std::string Model() { return *models_ / "tiny"; }

  // Flags of a server with the model, on a free port.
  std::vector<std::string> Flags() const {
    return {"serve",      "--model",   Model(),       "--listen",       "127.0.0.1:0",
            "--disk-dir", disk(),      "--ram-bytes", "16MiB",          "--disk-bytes",
            "16MiB",      "--threads", "1",           "--block-tokens", "8"};
  }
  std::string disk() const { return folder_ / "disk"; }

  // A server that is expected to refuse: one line on stderr that holds every one of `causes`.
  static void ExpectRefused(const std::vector<std::string>& flags, int exit_code,
                            const std::vector<std::string>& causes) {
    const CommandResult result = RunCommand(flags);
    EXPECT_EQ(result.exit_code, exit_code);
    EXPECT_EQ(result.errors.find('\n'), result.errors.size() - 1) << result.errors;
    for (const std::string& cause : causes) EXPECT_THAT(result.errors, HasSubstr(cause));
    EXPECT_THAT(result.output, ::testing::Not(HasSubstr(kReady)));
  }

  // A prompt of 99 tokens, of which at most 96 can come from the cache.
  static v1::GenerateRequest Request() {
    v1::GenerateRequest request;
    request.set_text(absl::StrCat(std::string(90, 'a'), "ninetynin"));
    request.mutable_stop()->set_max_new_tokens(16);
    request.mutable_stop()->set_ignore_eos(true);
    return request;
  }

  // A server that has room for EndlessRequest.
  std::vector<std::string> RoomyFlags() const {
    std::vector<std::string> flags = Flags();
    flags.insert(flags.end(), {"--max-running", "1"});
    *std::find(flags.begin(), flags.end(), "16MiB") = "64MiB";  // --ram-bytes
    return flags;
  }
  // Goes on for longer than any signal takes to arrive.
  static v1::GenerateRequest EndlessRequest() {
    v1::GenerateRequest request = Request();
    request.mutable_stop()->set_max_new_tokens(1 << 15);
    return request;
  }

  struct Output {
    std::vector<uint32_t> ids;
    v1::GenerateSummary summary;
  };
  static Output Generate(const std::string& address) {
    Output output;
    InferenceClient client(address);
    const auto summary = client.Generate(
        Request(), kTimeout,
        [&output](const v1::TokenChunk& chunk) { output.ids.push_back(chunk.token_id()); });
    EXPECT_TRUE(summary.ok()) << summary.status();
    output.summary = summary.value_or(v1::GenerateSummary());
    return output;
  }

  TempFolder folder_;

 private:
  static TempFolder* models_;
};

TempFolder* ServerProcessTest::models_ = nullptr;

TEST_F(ServerProcessTest, SaysWhatItServesAndWhereBeforeItServes) {
  ChildProcess server(Flags());
  const std::string address = server.AwaitLine(kReady);
  EXPECT_THAT(address, ::testing::StartsWith("127.0.0.1:"));
  EXPECT_NE(address, "127.0.0.1:0");
  EXPECT_THAT(server.output(),
              AllOf(HasSubstr("tiny (LlamaForCausalLM)"), HasSubstr("ram: 16.00 MiB"),
                    HasSubstr("recovered 0 blocks"), HasSubstr(disk())));
  EXPECT_EQ(Generate(address).ids.size(), 16u);
}

TEST_F(ServerProcessTest, ServesOnAUnixSocketWithOptionsFromAConfigFile) {
  const std::string socket = folder_ / "socket";
  std::ofstream(folder_ / "serve.toml")
      << "model = \"" << Model() << "\"\nlisten = \"unix:" << socket << "\"\nram-bytes = 16MiB\n";
  ChildProcess server({"serve", "--config", folder_ / "serve.toml"});
  const std::string address = server.AwaitLine(kReady);
  EXPECT_EQ(address, "unix:" + socket);
  EXPECT_EQ(Generate(address).ids.size(), 16u);
}

TEST_F(ServerProcessTest, SighupTakesUpTheConfigFileAndNeverEndsTheServer) {
  const std::string socket = folder_ / "socket";
  const auto write = [&](const std::string& settings) {
    std::ofstream(folder_ / "serve.toml") << "listen = \"unix:" << socket << "\"\n" << settings;
  };
  write("log-level = off\nram-bytes = 16MiB\n");
  const std::string admin = "unix:" + (folder_ / "admin");
  ChildProcess server({"serve", "--config", folder_ / "serve.toml", "--admin-listen", admin});
  CacheClient client(server.AwaitLine(kReady));
  EXPECT_TRUE(client.Stats(kTimeout).ok());
  write("log-level = debug\nram-bytes = 32MiB\n");
  server.Signal(SIGHUP);
  EXPECT_EQ(server.AwaitLine("reloaded "), "log-level debug, only with a restart: ram-bytes");
  EXPECT_TRUE(client.Stats(kTimeout).ok());
  grpc::ClientContext context;
  v1::ReloadResponse reloaded;
  EXPECT_TRUE(v1::Admin::NewStub(ConnectTo(admin))->Reload(&context, {}, &reloaded).ok());
  EXPECT_THAT(reloaded.changed(), ::testing::ElementsAre("only with a restart: ram-bytes"));
  write("log-level = off\nsurprise = 1\n");
  server.Signal(SIGHUP);
  // Of the two signals the server takes this one last.
  server.Signal(SIGTERM);
  EXPECT_EQ(server.Wait(), 0);
  const std::string errors = server.ReadErrors();
  EXPECT_THAT(errors, AllOf(HasSubstr("not reloaded"), HasSubstr("unknown key \"surprise\"")));
  const size_t first = errors.find("rpc=reprise.v1.Cache/Stats");
  EXPECT_NE(first, errors.npos) << "the second call was logged";
  EXPECT_EQ(errors.find("rpc=reprise.v1.Cache/Stats", first + 1), errors.npos) << "not the first";
}

TEST_F(ServerProcessTest, OnlyItsUserMayReachItsSocketAndFiles) {
  const std::string socket = folder_ / "socket";
  std::vector<std::string> flags = Flags();
  flags[4] = "unix:" + socket;
  ChildProcess server(flags);
  ASSERT_EQ(server.AwaitLine(kReady), "unix:" + socket);
  namespace fs = std::filesystem;
  constexpr fs::perms kOthers = fs::perms::group_all | fs::perms::others_all;
  EXPECT_EQ(fs::status(socket).type(), fs::file_type::socket);
  EXPECT_EQ(fs::status(socket).permissions(), fs::perms::owner_all);
  EXPECT_EQ(fs::status(disk()).permissions(), fs::perms::owner_all);
  int files = 0;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(disk())) {
    EXPECT_EQ(entry.status().permissions() & kOthers, fs::perms::none) << entry.path();
    ++files;
  }
  EXPECT_GT(files, 3);
}

TEST_F(ServerProcessTest, WithoutAModelItIsAStoreForOtherEngines) {
  ChildProcess server({"serve", "--listen", "127.0.0.1:0", "--ram-bytes", "16MiB"});
  const std::string address = server.AwaitLine(kReady);
  EXPECT_THAT(server.output(), HasSubstr("model: none"));
  EXPECT_TRUE(CacheClient(address).Stats(kTimeout).ok());
  EXPECT_EQ(InferenceClient(address).GetModel(kTimeout).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(ServerProcessTest, BlocksOnDiskOutliveKill9) {
  Output before;
  {
    ChildProcess server(Flags());
    const std::string address = server.AwaitLine(kReady);
    before = Generate(address);
    EXPECT_EQ(before.summary.cached_tokens().ram(), 0);
    ASSERT_TRUE(CacheClient(address).Demote(kTimeout).ok());
    server.Signal(SIGKILL);
    EXPECT_EQ(server.Wait(), 128 + SIGKILL);
  }
  ChildProcess server(Flags());
  const Output after = Generate(server.AwaitLine(kReady));
  EXPECT_EQ(after.summary.cached_tokens().disk(), 96);
  EXPECT_EQ(after.ids, before.ids);
}

TEST_F(ServerProcessTest, WhatOnlyRamHeldIsGoneAfterKill9) {
  {
    ChildProcess server(Flags());
    Generate(server.AwaitLine(kReady));
    server.Signal(SIGKILL);
    server.Wait();
  }
  ChildProcess server(Flags());
  const Output after = Generate(server.AwaitLine(kReady));
  EXPECT_EQ(after.summary.cached_tokens().disk(), 0);
  EXPECT_EQ(after.ids.size(), 16u);
}

TEST_F(ServerProcessTest, SigtermMovesRamToDiskAndExitsWith0) {
  Output before;
  {
    ChildProcess server(Flags());
    before = Generate(server.AwaitLine(kReady));
    server.Signal(SIGTERM);
    EXPECT_NE(server.AwaitLine("moved "), "");
    EXPECT_EQ(server.Wait(), 0);
  }
  ChildProcess server(Flags());
  const std::string address = server.AwaitLine(kReady);
  const Output after = Generate(address);
  EXPECT_EQ(after.summary.cached_tokens().disk(), 96);
  EXPECT_EQ(after.ids, before.ids);
  server.Signal(SIGINT);
  EXPECT_EQ(server.Wait(), 0);
}

TEST_F(ServerProcessTest, AClosedTerminalEndsItAsSigtermDoes) {
  const auto before = signal(SIGHUP, SIG_DFL);  // these tests may be run by nohup
  ChildProcess server(Flags());
  signal(SIGHUP, before);
  Generate(server.AwaitLine(kReady));
  server.Signal(SIGHUP);
  EXPECT_NE(server.AwaitLine("moved "), "");
  EXPECT_EQ(server.Wait(), 0);
}

TEST_F(ServerProcessTest, AClosedTerminalIsIgnoredWhenItsParentSaidSo) {
  const auto before = signal(SIGHUP, SIG_IGN);  // as nohup does
  ChildProcess server(Flags());
  signal(SIGHUP, before);
  const std::string address = server.AwaitLine(kReady);
  server.Signal(SIGHUP);
  EXPECT_EQ(Generate(address).ids.size(), 16u);
  server.Signal(SIGTERM);
  EXPECT_EQ(server.Wait(), 0);
}

TEST_F(ServerProcessTest, WhatRunsLongerThanTheGraceIsCancelledAndRamStillGoesToDisk) {
  std::vector<std::string> flags = RoomyFlags();
  flags.insert(flags.end(), {"--shutdown-grace", "0"});
  ChildProcess server(flags);
  const std::string address = server.AwaitLine(kReady);
  Generate(address);
  int64_t tokens = 0;
  // Less than the default of --shutdown-grace, which the call would outlast.
  constexpr absl::Duration kPatience = absl::Seconds(8);
  const auto summary =
      InferenceClient(address).Generate(EndlessRequest(), kPatience, [&](const v1::TokenChunk&) {
        if (++tokens == 1) server.Signal(SIGTERM);
      });
  EXPECT_FALSE(summary.ok());
  EXPECT_NE(summary.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_NE(server.AwaitLine("moved "), "");
  EXPECT_EQ(server.Wait(), 0);
}

TEST_F(ServerProcessTest, SigtermLetsARunningRequestFinish) {
  ChildProcess server(Flags());
  InferenceClient client(server.AwaitLine(kReady));
  v1::GenerateRequest request = Request();
  request.mutable_stop()->set_max_new_tokens(300);
  int64_t tokens = 0;
  const auto summary = client.Generate(request, kTimeout, [&](const v1::TokenChunk&) {
    if (++tokens == 1) server.Signal(SIGTERM);
  });
  EXPECT_EQ(server.Wait(), 0);
  ASSERT_TRUE(summary.ok()) << summary.status() << " after " << tokens << " tokens";
  EXPECT_EQ(tokens, 300);
}

TEST_F(ServerProcessTest, ASecondSignalEndsTheServerAtOnce) {
  ChildProcess server(RoomyFlags());
  InferenceClient client(server.AwaitLine(kReady));
  int64_t tokens = 0;
  const auto summary = client.Generate(EndlessRequest(), kTimeout, [&](const v1::TokenChunk&) {
    if (++tokens != 1) return;
    server.Signal(SIGTERM);
    server.AwaitLine("shutting down");
    server.Signal(SIGTERM);
  });
  EXPECT_EQ(summary.status().code(), absl::StatusCode::kUnavailable) << summary.status();
  EXPECT_EQ(server.Wait(), 128 + SIGTERM);
}

TEST_F(ServerProcessTest, APortInUseIsOneClearError) {
  ChildProcess server(Flags());
  const std::string address = server.AwaitLine(kReady);
  std::vector<std::string> flags = {"serve", "--listen", address, "--ram-bytes", "16MiB"};
  ExpectRefused(flags, 1, {"cannot listen on " + address, "Address already in use"});
}

TEST_F(ServerProcessTest, ADamagedIndexIsSaidAndTheServerStartsWithoutIt) {
  {
    ChildProcess server(Flags());
    Generate(server.AwaitLine(kReady));
    server.Signal(SIGTERM);
    EXPECT_EQ(server.Wait(), 0);
  }
  std::ofstream(disk() + "/index/CURRENT", std::ios::trunc) << "no such file";
  ChildProcess server(Flags());
  const Output after = Generate(server.AwaitLine(kReady));
  EXPECT_EQ(after.summary.cached_tokens().disk(), 0);
  server.Signal(SIGTERM);
  EXPECT_EQ(server.Wait(), 0);
  EXPECT_THAT(server.ReadErrors(),
              AllOf(HasSubstr("warning: "), HasSubstr("set aside as"), HasSubstr(disk())));
}

TEST_F(ServerProcessTest, ADataDirectoryInUseIsOneClearError) {
  ChildProcess server(Flags());
  server.AwaitLine(kReady);
  ExpectRefused(Flags(), 1, {disk(), "in use"});
}

TEST_F(ServerProcessTest, ADataDirectoryOfANewerFormatIsLeftAlone) {
  {
    ChildProcess server(Flags());
    server.AwaitLine(kReady);
  }
  std::ofstream(disk() + "/FORMAT") << "reprise-disk-tier 99\n";
  ExpectRefused(Flags(), 1, {disk(), "version 99", "version 1"});
  std::string format;
  std::getline(std::ifstream(disk() + "/FORMAT"), format);
  EXPECT_EQ(format, "reprise-disk-tier 99");
}

TEST_F(ServerProcessTest, ABadModelIsOneClearError) {
  std::vector<std::string> flags = Flags();
  flags[2] = folder_ / "nowhere";
  ExpectRefused(flags, 1, {"nowhere"});
  flags[2] = folder_ / "broken";
  std::filesystem::copy(Model(), flags[2]);
  std::filesystem::resize_file(flags[2] + "/model.safetensors", 1000);
  ExpectRefused(flags, 1, {"broken/model.safetensors"});
}

TEST_F(ServerProcessTest, AGpuThatIsNotThereOrCannotComputeTheModelIsOneClearError) {
  std::vector<std::string> flags = Flags();
  const auto threads = std::find(flags.begin(), flags.end(), "--threads");
  flags.erase(threads, threads + 2);  // of the CPU
  flags.insert(flags.end(), {"--device", "cuda"});
  flags[2] = folder_ / "odd";
  const CommandResult made =
      RunCommand({"make-model", "--out", flags[2], "--hidden-size", "32", "--layers", "1",
                  "--heads", "4", "--kv-heads", "2", "--intermediate-size", "30"});
  ASSERT_EQ(made.exit_code, 0) << made.errors;
  ExpectRefused(flags, 1, {"intermediate_size is 30"});
  if (engine::cuda::OpenCard().ok()) GTEST_SKIP() << "there is a card";
  flags[2] = Model();
  ExpectRefused(flags, 1, {"CUDA"});
  EXPECT_FALSE(std::filesystem::exists(disk())) << "the store was opened first";
}

TEST_F(ServerProcessTest, WrongUsageExitsWith2) {
  ExpectRefused({"serve", "--listen", "0.0.0.0:0"}, 2, {"--allow-insecure-remote"});
  ExpectRefused({"serve", "--ram-bytes", "much"}, 2, {"--ram-bytes", "much"});
  ExpectRefused({"serve", "--model", Model(), "--block-tokens", "7"}, 2, {"7"});
  ExpectRefused({"serve", "--surprise"}, 2, {"--surprise"});
  ExpectRefused({"serve", "--disk-bytes", "1GiB"}, 2, {"--disk-bytes", "--disk-dir"});
  ExpectRefused({"serve", "--threads", "1"}, 2, {"--threads", "--model"});
  ExpectRefused({"serve", "--model", Model(), "--device", "cuda", "--gpu-bytes", "0"}, 2,
                {"--gpu-bytes is 0"});
  ExpectRefused({"serve", "--model", Model(), "--device", "cuda", "--threads", "1"}, 2,
                {"--threads excludes --device cuda"});
}

}  // namespace
}  // namespace reprise::api
