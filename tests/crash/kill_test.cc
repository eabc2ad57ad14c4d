// kill -9 under load, at any moment and, every other time, inside of Demote(): a process is killed,
// its store reopened here and every block in it checked. --rounds=N kills N times per case
// (default: a few; 500 in the full form).
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "cachestore/base/check.h"
#include "gtest/gtest.h"
#include "tests/crash/crash_load.h"
#include "tests/crash/crash_process.h"
#include "tests/fakes/full_form.h"

extern char** environ;

namespace reprise::cachestore {
namespace {

namespace fs = std::filesystem;

constexpr char kChildFlag[] = "--crash_load=";
constexpr int kPipeFd = 3;              // in the child
constexpr int kDurableBeforeKill = 10;  // chains
int num_rounds = FullForm() ? 500 : 4;  // main may set it

// A child process under load on one directory.
class LoadedProcess {
 public:
  LoadedProcess(const std::string& directory, int64_t disk_bytes, uint64_t round) {
    int fds[2];
    CHECK(pipe2(fds, O_CLOEXEC) == 0);
    std::string self = "/proc/self/exe";
    std::string flag = absl::StrCat(kChildFlag, disk_bytes, ",", round, ",", directory);
    char* arguments[] = {self.data(), flag.data(), nullptr};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fds[1], kPipeFd);
    CHECK(posix_spawn(&pid_, self.c_str(), &actions, nullptr, arguments, environ) == 0);
    posix_spawn_file_actions_destroy(&actions);
    close(fds[1]);
    read_fd_ = fds[0];
  }
  ~LoadedProcess() { close(read_fd_); }

  // False at the end of the pipe.
  bool Read(Message* message) {
    return read(read_fd_, message, sizeof(*message)) == sizeof(*message);
  }
  // The wait status.
  int Kill() {
    kill(pid_, SIGKILL);
    int status = 0;
    CHECK(waitpid(pid_, &status, 0) == pid_);
    return status;
  }

 private:
  pid_t pid_ = 0;
  int read_fd_ = -1;
};

struct Case {
  std::string name;
  int64_t disk_bytes;
  int rounds_per_directory;  // how often one directory is crashed and reopened
  bool keeps_everything;     // the budget is ample: nothing is ever evicted from disk
};

struct Totals {
  int kills = 0;
  int kills_during_demotion = 0;
  int64_t durable_chains = 0;
  int64_t recovered_blocks = 0;
  int64_t verified_blocks = 0;
};

class KillTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override { NewDirectory(); }
  void TearDown() override {
    fs::remove_all(directory_);
    std::printf(
        "%s: %d kills, %d of them during Demote(); %ld durable chains; %ld blocks recovered, "
        "%ld verified\n",
        GetParam().name.c_str(), totals_.kills, totals_.kills_during_demotion,
        totals_.durable_chains, totals_.recovered_blocks, totals_.verified_blocks);
  }

  void NewDirectory() {
    if (!directory_.empty()) fs::remove_all(directory_);
    directory_ = (fs::path(testing::TempDir()) / "crash_test_XXXXXX").string();
    CHECK(mkdtemp(directory_.data()) != nullptr);
    sealing_.clear();
    durable_.clear();
  }

  // Runs the load and kills it at a random moment; in every other round, of a random call of
  // Demote().
  void Crash(uint64_t round) {
    const bool during_demotion = round % 2 == 0;
    LoadedProcess process(directory_, GetParam().disk_bytes, round);
    int events_left = 1 + static_cast<int>(random_() % (during_demotion ? 8 : 100));
    const std::chrono::microseconds delay(random_() % 15000);
    Message message;
    int num_durable = 0;
    bool is_demoting = false;
    int status = 0;
    bool killed = false;
    while (process.Read(&message)) {
      switch (message.kind) {
        case Message::Kind::kSealing:
          sealing_.insert(message.chain);
          break;
        case Message::Kind::kDurable:
          durable_.insert(message.chain);
          ++num_durable;
          break;
        case Message::Kind::kDemoted:
          is_demoting = false;
          break;
        case Message::Kind::kDemoting:
          is_demoting = true;
          break;
      }
      if (killed || num_durable < kDurableBeforeKill) continue;
      if (during_demotion && message.kind != Message::Kind::kDemoting) continue;
      if (--events_left > 0) continue;
      std::this_thread::sleep_for(delay);  // the moment of the crash, not synchronisation
      status = process.Kill();
      killed = true;
    }
    ASSERT_TRUE(killed) << "the process under load ended by itself";
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
    ++totals_.kills;
    totals_.kills_during_demotion += is_demoting;
  }

  // Pins everything that is there of `chain` and checks it; returns the blocks served.
  int64_t Verify(TieredStore& store, const NamespaceHandle& ns, uint64_t chain) {
    const std::vector<TokenId> tokens = ChainTokens(chain);
    if (store.Match(ns, tokens, ChainBlocks(chain)).total_blocks() == 0) return 0;
    const std::vector<BlockKey> keys = ChainKeys(ns.root, tokens, kBlockTokens);
    PinTicket ticket = store.Pin(ns, tokens, ChainBlocks(chain), nullptr);
    EXPECT_TRUE(ticket.Wait(absl::Now() + absl::Seconds(60)));
    const int64_t matched = ticket.matched_blocks();
    const PinnedPrefix prefix = ticket.Take();
    EXPECT_EQ(static_cast<int64_t>(prefix.blocks.size()), matched);
    for (size_t i = 0; i < prefix.blocks.size(); ++i) {
      EXPECT_EQ(prefix.blocks[i].key(), keys[i]);
      EXPECT_TRUE(IsRightPayload(keys[i], prefix.blocks[i].bytes())) << "chain " << chain;
      verified_.insert(keys[i]);
    }
    return static_cast<int64_t>(prefix.blocks.size());
  }

  void ReopenAndVerify() {
    absl::StatusOr<std::unique_ptr<TieredStore>> store =
        TieredStore::Open(CrashOptions(directory_, GetParam().disk_bytes));
    ASSERT_TRUE(store.ok()) << store.status();
    const absl::StatusOr<NamespaceHandle> ns = (*store)->OpenNamespace(CrashIdentity());
    ASSERT_TRUE(ns.ok()) << ns.status();
    EXPECT_TRUE((*store)->CheckIntegrity().ok()) << (*store)->CheckIntegrity();
    const StoreStats stats = (*store)->stats();
    EXPECT_LE(stats.disk_used_bytes, GetParam().disk_bytes);
    ExpectFilesUnderBudget();
    verified_.clear();
    for (const uint64_t chain : sealing_) {
      const int64_t served = Verify(**store, *ns, chain);
      if (GetParam().keeps_everything && durable_.contains(chain)) {
        EXPECT_EQ(served, ChainBlocks(chain)) << "a durable block of chain " << chain << " is lost";
      }
    }
    // Every block in the store belongs to a chain that was being sealed, and all were looked at.
    EXPECT_EQ(static_cast<int64_t>(verified_.size()), stats.recovered_blocks);
    EXPECT_EQ((*store)->stats().missed_corrupt_tokens, 0);
    EXPECT_EQ((*store)->stats().missed_io_error_tokens, 0);
    EXPECT_TRUE((*store)->CheckIntegrity().ok()) << (*store)->CheckIntegrity();
    ExpectFilesUnderBudget();
    totals_.recovered_blocks += stats.recovered_blocks;
    totals_.verified_blocks += static_cast<int64_t>(verified_.size());
    EXPECT_GT(stats.recovered_blocks, 0);
  }

  void ExpectFilesUnderBudget() {
    int64_t bytes = 0;
    for (const auto& entry : fs::directory_iterator(directory_)) {
      if (entry.path().extension() == ".dat") bytes += static_cast<int64_t>(entry.file_size());
    }
    EXPECT_GT(bytes, 0);
    EXPECT_LE(bytes, GetParam().disk_bytes);
  }

  std::string directory_;
  std::mt19937_64 random_{20240607};
  std::set<uint64_t> sealing_;  // chains of which blocks may be in the directory
  std::set<uint64_t> durable_;  // chains that were reported as durable
  std::set<BlockKey> verified_;
  Totals totals_;
};

TEST_P(KillTest, EveryBlockServedAfterwardsVerifies) {
  for (int round = 0; round < num_rounds; ++round) {
    SCOPED_TRACE(absl::StrCat("round ", round));
    if (round > 0 && round % GetParam().rounds_per_directory == 0) {
      totals_.durable_chains += static_cast<int64_t>(durable_.size());
      NewDirectory();
    }
    Crash(static_cast<uint64_t>(round));
    if (HasFatalFailure()) return;
    ReopenAndVerify();
    if (HasFailure()) return;
  }
  totals_.durable_chains += static_cast<int64_t>(durable_.size());
  EXPECT_EQ(totals_.kills, num_rounds);
  EXPECT_GT(totals_.kills_during_demotion, num_rounds / 4);
  EXPECT_GT(totals_.durable_chains, num_rounds);
}

INSTANTIATE_TEST_SUITE_P(Budgets, KillTest,
                         testing::Values(Case{.name = "Ample",
                                              .disk_bytes = int64_t{1} << 30,
                                              .rounds_per_directory = 5,
                                              .keeps_everything = true},
                                         Case{.name = "Tight",
                                              .disk_bytes = (int64_t{4} << 20) + 123,
                                              .rounds_per_directory = 10,
                                              .keeps_everything = false}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace reprise::cachestore

int main(int argc, char** argv) {
  using namespace reprise::cachestore;  // NOLINT
  for (int i = 1; i < argc; ++i) {
    absl::string_view argument = argv[i];
    if (absl::ConsumePrefix(&argument, kChildFlag)) {
      const std::vector<std::string> values = absl::StrSplit(argument, absl::MaxSplits(',', 2));
      int64_t disk_bytes = 0;
      uint64_t round = 0;
      CHECK(values.size() == 3 && absl::SimpleAtoi(values[0], &disk_bytes) &&
            absl::SimpleAtoi(values[1], &round));
      return RunCrashLoad(values[2], disk_bytes, round, kPipeFd);
    }
    if (absl::ConsumePrefix(&argument, "--rounds=")) {
      CHECK(absl::SimpleAtoi(argument, &num_rounds) && num_rounds > 0);
    }
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
