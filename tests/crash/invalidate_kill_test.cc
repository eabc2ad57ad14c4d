// kill -9 right after Invalidate has returned: nothing that was cached before comes back.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "tests/crash/crash_load.h"

namespace reprise::cachestore {
namespace {

constexpr uint64_t kNumChains = 200;  // about 1500 blocks; RAM holds 170
constexpr int64_t kDiskBytes = int64_t{64} << 20;

bool SealChain(TieredStore& store, const NamespaceHandle& ns, uint64_t chain) {
  const std::vector<TokenId> tokens = ChainTokens(chain);
  std::vector<BlockRef> refs;
  for (int64_t i = 0; i < ChainBlocks(chain); ++i) {
    absl::StatusOr<WritableBlock> block = store.Allocate(ns);
    while (!block.ok()) {
      store.AwaitRoom(ns, absl::Now() + absl::Seconds(20));
      block = store.Allocate(ns);
    }
    const BlockKey parent = refs.empty() ? ns.root : refs.back().key();
    const auto content = absl::MakeConstSpan(tokens).subspan(i * kBlockTokens, kBlockTokens);
    FillPayload(ChildKey(parent, content), block->bytes());
    refs.push_back(store.Seal(ns, *std::move(block), parent, content));
  }
  return store.Match(ns, tokens, ChainBlocks(chain)).total_blocks() == ChainBlocks(chain);
}

// Fills a store of two tenants while a thread demotes, invalidates one tenant and dies.
[[noreturn]] void FillInvalidateAndDie(const std::string& directory) {
  auto store = TieredStore::Open(CrashOptions(directory, kDiskBytes));
  if (!store.ok()) _exit(2);
  NamespaceIdentity identity = CrashIdentity();
  const NamespaceHandle kept = *(*store)->OpenNamespace(identity);
  identity.tenant = "alice";
  const NamespaceHandle gone = *(*store)->OpenNamespace(identity);
  if (!SealChain(**store, kept, 0) || !(*store)->Demote().ok()) _exit(3);
  std::thread([&] {
    for (;;) {
      if (!(*store)->Demote().ok()) _exit(4);
    }
  }).detach();
  for (uint64_t chain = 0; chain < kNumChains; ++chain) {
    if (!SealChain(**store, gone, chain)) _exit(5);
  }
  const auto report =
      (*store)->Invalidate(BlocksOfTenant{"alice"}, absl::Now() + absl::Seconds(60));
  if (!report.ok() || report->disk_blocks < 500) _exit(6);
  kill(getpid(), SIGKILL);
  _exit(7);
}

TEST(InvalidateKillTest, NothingInvalidatedComesBack) {
  for (int round = 0; round < 5; ++round) {
    std::string directory =
        (std::filesystem::temp_directory_path() / "reprise-invalidate-XXXXXX").string();
    ASSERT_NE(mkdtemp(directory.data()), nullptr);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) FillInvalidateAndDie(directory);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "exit code " << WEXITSTATUS(status);
    ASSERT_EQ(WTERMSIG(status), SIGKILL);
    {
      auto store = TieredStore::Open(CrashOptions(directory, kDiskBytes));
      ASSERT_TRUE(store.ok()) << store.status();
      EXPECT_EQ((*store)->stats().recovered_blocks, ChainBlocks(0)) << "the other tenant's";
      NamespaceIdentity identity = CrashIdentity();
      const NamespaceHandle kept = *(*store)->OpenNamespace(identity);
      identity.tenant = "alice";
      const NamespaceHandle gone = *(*store)->OpenNamespace(identity);
      EXPECT_EQ((*store)->Match(kept, ChainTokens(0), 100).total_blocks(), ChainBlocks(0));
      for (uint64_t chain = 0; chain < kNumChains; ++chain) {
        EXPECT_EQ((*store)->Match(gone, ChainTokens(chain), 100).total_blocks(), 0);
      }
      EXPECT_EQ((*store)->CheckIntegrity(), absl::OkStatus());
    }
    std::filesystem::remove_all(directory);
  }
}

}  // namespace
}  // namespace reprise::cachestore
