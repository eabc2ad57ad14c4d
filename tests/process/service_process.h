// ServiceProcess: the real server as a process of its own under the load of service_load.cc:
// started, killed and started again over one disk folder; and Said, what a client of the load has
// said.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "api/client/cache_client.h"
#include "tests/fakes/temp_folder.h"
#include "tests/process/child_process.h"
#include "tests/process/service_chains.h"

namespace reprise::api {

inline constexpr absl::Duration kProcessTimeout = absl::Seconds(60);

// What a client has said (service_load.cc).
struct Said {
  std::set<uint64_t> putting, acked, durable;
  std::set<std::string> under_way;  // operations that had begun and not ended
  std::vector<std::string> wrong;
  int64_t operations = 0;

  explicit Said(const std::string& output) {
    std::map<std::string, std::string> by_thread;
    std::vector<std::string> lines = absl::StrSplit(output, '\n');
    lines.pop_back();  // behind the last line's end
    for (const std::string& line : lines) {
      const std::vector<std::string> words = absl::StrSplit(line, ' ');
      const std::string& what = words[0];
      if (what == "begin") by_thread[words[1]] = words[2];
      if (what == "end") operations += by_thread.erase(words[1]);
      if (what == "wrong") wrong.push_back(line);
      uint64_t chain = 0;
      if (words.size() != 2 || !absl::SimpleAtoi(words[1], &chain)) continue;
      if (what == "putting") putting.insert(chain);
      if (what == "acked") acked.insert(chain);
      if (what == "durable") durable.insert(chain);
    }
    for (const auto& [thread, operation] : by_thread) under_way.insert(operation);
  }
};

// What the server of `client` holds for clients, by name; empty: nothing.
inline std::string Held(CacheClient& client) {
  const auto stats = client.Stats(kProcessTimeout);
  if (!stats.ok()) return stats.status().ToString();
  std::vector<std::string> held;
  for (const char* name : {"sessions", "leases", "grants", "held_bytes", "prefetches"}) {
    const int64_t value = stats->sessions().at(name);
    if (value != 0) held.push_back(absl::StrCat(name, " ", value));
  }
  for (const char* name : {"pinned_blocks", "writing_blocks", "waiting_allocations"}) {
    const int64_t value = stats->store().at(name);
    if (value != 0) held.push_back(absl::StrCat(name, " ", value));
  }
  return absl::StrJoin(held, ", ");
}

// Asks until nothing is held, or for so long; what still is.
inline std::string HeldAfter(CacheClient& client, absl::Duration within) {
  const absl::Time end = absl::Now() + within;
  std::string held = Held(client);
  while (!held.empty() && absl::Now() < end) held = Held(client);
  return held;
}

class ServiceProcess {
 public:
  // Blocks may lie on disk in `disk_bytes`; RAM holds 512 of them: demotion runs all the time.
  explicit ServiceProcess(const std::string& disk_bytes) : disk_bytes_(disk_bytes) { Start(); }

  void Start() {
    server_ = std::make_unique<ChildProcess>(std::vector<std::string>{
        "serve", "--listen", address(), "--ram-bytes", "16MiB", "--disk-dir", folder_ / "disk",
        "--disk-bytes", disk_bytes_, "--shutdown-grace", "2"});
    EXPECT_NE(server_->AwaitLine("listening on "), "");
    client_ = std::make_unique<CacheClient>(address());
    const auto ns = client_->OpenNamespace(ChainIdentity(kChainTenant), kProcessTimeout);
    EXPECT_TRUE(ns.ok()) << ns.status();
    ns_ = ns.ok() ? ns->namespace_id() : 0;
  }
  std::unique_ptr<ChildProcess> StartClient(uint64_t client, const std::string& flags) const {
    return std::make_unique<ChildProcess>(
        std::vector<std::string>{address(), absl::StrCat(client), flags}, "", REPRISE_SERVICE_LOAD);
  }
  ChildProcess& process() { return *server_; }
  CacheClient& client() { return *client_; }
  uint32_t ns() const { return ns_; }
  std::string address() const { return "unix:" + (folder_ / "socket"); }

  // What is wrong with the blocks of `said`: wrong bytes, or some of a chain of `kept` missing.
  // Counts the blocks that are right.
  std::vector<std::string> Verify(const Said& said, const std::set<uint64_t>& kept,
                                  int64_t* verified) {
    std::vector<std::string> faults = said.wrong;
    std::set<uint64_t> chains = said.putting;
    chains.insert(kept.begin(), kept.end());
    for (const uint64_t chain : chains) {
      int64_t right = 0;
      const auto got = client_->Get(
          ns_, ChainTokens(chain), 0, kProcessTimeout, [&](const v1::GetResponse& block) {
            right += block.block_index() == right && IsRightPayload(chain, right, block.payload());
          });
      *verified += right;
      if (!got.ok() || *got != right) {
        faults.push_back(absl::StrCat("bytes of chain ", chain, " are wrong: ", right, " of ",
                                      got.value_or(-1), " blocks are right"));
      } else if (kept.contains(chain) && right != ChainBlocks(chain)) {
        faults.push_back(absl::StrCat("chain ", chain, " is lost: ", right, " of ",
                                      ChainBlocks(chain), " blocks are there"));
      }
    }
    return faults;
  }

 private:
  const std::string disk_bytes_;
  TempFolder folder_;
  std::unique_ptr<ChildProcess> server_;
  std::unique_ptr<CacheClient> client_;
  uint32_t ns_ = 0;
};

}  // namespace reprise::api
