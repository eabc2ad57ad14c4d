// The process that is killed: writers seal, pin and verify chains in a TieredStore while the main
// thread demotes without pause and reports what has become durable.
#pragma once

#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "cachestore/store/tiered_store.h"
#include "tests/crash/crash_load.h"

namespace reprise::cachestore {

class CrashLoad {
 public:
  CrashLoad(std::unique_ptr<TieredStore> store, const NamespaceHandle& ns, uint64_t round,
            int pipe_fd)
      : store_(std::move(store)), ns_(ns), round_(round), pipe_fd_(pipe_fd) {}

  // Never returns.
  [[noreturn]] void Run() {
    for (uint64_t writer = 0; writer < kNumWriters; ++writer) {
      std::thread([this, writer] { Write(writer); }).detach();
    }
    for (;;) DemoteAndReport();
  }

 private:
  [[noreturn]] static void Die(const std::string& why) {
    std::fprintf(stderr, "crash load: %s\n", why.c_str());
    _exit(2);
  }

  void Send(Message::Kind kind, uint64_t chain) {
    const Message message = {kind, chain};
    if (write(pipe_fd_, &message, sizeof(message)) != sizeof(message)) Die("pipe");
  }

  // Pins what is there of `chain`, and checks every byte of it.
  std::vector<BlockRef> PinVerified(uint64_t chain) {
    const std::vector<TokenId> tokens = ChainTokens(chain);
    const std::vector<BlockKey> keys = ChainKeys(ns_.root, tokens, kBlockTokens);
    PinTicket ticket = store_->Pin(ns_, tokens, ChainBlocks(chain), nullptr);
    if (!ticket.Wait(absl::Now() + absl::Seconds(60))) Die("a load does not end");
    PinnedPrefix prefix = ticket.Take();
    for (size_t i = 0; i < prefix.blocks.size(); ++i) {
      if (prefix.blocks[i].key() != keys[i]) Die("wrong key");
      if (!IsRightPayload(keys[i], prefix.blocks[i].bytes())) Die("wrong bytes");
    }
    return std::move(prefix.blocks);
  }

  // Seals the blocks of `chain` that are not in the store.
  void SealChain(uint64_t chain) {
    Send(Message::Kind::kSealing, chain);
    const std::vector<TokenId> tokens = ChainTokens(chain);
    std::vector<BlockRef> pins = PinVerified(chain);
    while (static_cast<int64_t>(pins.size()) < ChainBlocks(chain)) {
      absl::StatusOr<WritableBlock> block = store_->Allocate(ns_);
      if (!block.ok()) {
        store_->AwaitRoom(ns_, absl::Now() + absl::Seconds(1));
        continue;
      }
      const BlockKey parent = pins.empty() ? ns_.root : pins.back().key();
      const auto own =
          absl::MakeConstSpan(tokens).subspan(pins.size() * kBlockTokens, kBlockTokens);
      FillPayload(ChildKey(parent, own), block->bytes());
      pins.push_back(store_->Seal(ns_, *std::move(block), parent, own));
    }
  }

  void Write(uint64_t writer) {
    std::mt19937_64 random(MixBits(round_) + writer);
    for (uint64_t number = 0;; ++number) {
      const uint64_t chain = ChainId(round_, writer, number);
      SealChain(chain);
      {
        absl::MutexLock lock(&mu_);
        sealed_.push_back(chain);
      }
      PinVerified(ChainId(round_, writer, random() % (number + 1)));
    }
  }

  void DemoteAndReport() {
    Send(Message::Kind::kDemoting, 0);
    const absl::StatusOr<int64_t> demoted = store_->Demote();
    if (!demoted.ok()) Die(demoted.status().ToString());
    Send(Message::Kind::kDemoted, 0);
    std::vector<uint64_t> waiting;
    {
      absl::MutexLock lock(&mu_);
      waiting.swap(sealed_);
    }
    std::vector<uint64_t> in_ram;
    for (const uint64_t chain : waiting) {
      const PrefixMatch match = store_->Match(ns_, ChainTokens(chain), ChainBlocks(chain));
      if (match.ram_blocks > 0) {
        in_ram.push_back(chain);  // pinned, or loaded again: not known to be on disk
      } else if (match.disk_blocks == ChainBlocks(chain)) {
        Send(Message::Kind::kDurable, chain);
      }
    }
    absl::MutexLock lock(&mu_);
    sealed_.insert(sealed_.end(), in_ram.begin(), in_ram.end());
  }

  const std::unique_ptr<TieredStore> store_;
  const NamespaceHandle ns_;
  const uint64_t round_;
  const int pipe_fd_;
  absl::Mutex mu_;
  std::vector<uint64_t> sealed_ ABSL_GUARDED_BY(mu_);  // not reported as durable yet
};

// Runs the load on the store in `directory` and reports to `pipe_fd` until it is killed. Returns an
// exit code only when something is wrong, after saying what on stderr.
inline int RunCrashLoad(const std::string& directory, int64_t disk_bytes, uint64_t round,
                        int pipe_fd) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  absl::StatusOr<std::unique_ptr<TieredStore>> store =
      TieredStore::Open(CrashOptions(directory, disk_bytes));
  if (!store.ok()) {
    std::fprintf(stderr, "crash load: %s\n", store.status().ToString().c_str());
    return 2;
  }
  const absl::StatusOr<NamespaceHandle> ns = (*store)->OpenNamespace(CrashIdentity());
  if (!ns.ok()) {
    std::fprintf(stderr, "crash load: %s\n", ns.status().ToString().c_str());
    return 2;
  }
  CrashLoad(*std::move(store), *ns, round, pipe_fd).Run();
}

}  // namespace reprise::cachestore
