// Rows rpc.*_vs_mooncake and rpc.*_vs_lmcache: other stores' servers on the same host.
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "bench/peers/store_peer.h"
#include "bench/rounds.h"
#include "bench/rpc_bed.h"
#include "bench/rpc_rows.h"
#include "cachestore/base/status_macros.h"

namespace reprise::bench {
namespace {

constexpr int64_t kBlockBytes = int64_t{2} << 20;

struct Peer {
  std::string name;    // part of the rows' names
  std::string script;  // in the folder of peers
};

// The peer's server, if folder `peers` has what it needs.
absl::StatusOr<std::unique_ptr<StorePeer>> StartPeer(const Peer& peer, const std::string& peers,
                                                     int64_t blocks) {
  const std::string python = peers + "/bin/python";
  const std::string script = absl::StrCat(peers, "/", peer.script);
  for (const std::string& path : {python, script}) {
    if (!std::filesystem::exists(path)) {
      return absl::NotFoundError(absl::StrCat(path, " is not there (bench/peers/setup.sh)"));
    }
  }
  return StorePeer::Start({python, script, absl::StrCat(blocks), absl::StrCat(kBlockBytes)});
}

// The rows of one peer, which takes turns with ours; ours alone where it does not start.
absl::StatusOr<std::vector<Result>> MeasurePeer(Extent extent, const Peer& peer,
                                                const std::string& peers) {
  const int64_t blocks = ByExtent<int64_t>(extent, 4, 64);
  ASSIGN_OR_RETURN(const std::unique_ptr<RpcBed> bed,
                   RpcBed::Start(extent, 4 * blocks * kBlockBytes, blocks * kBlockBytes));
  ASSIGN_OR_RETURN(const uint32_t ns, bed->Open(kBlockBytes));
  const absl::StatusOr<std::unique_ptr<StorePeer>> store = StartPeer(peer, peers, blocks);
  int round = 0;
  const auto rate = [blocks](double seconds) {
    return static_cast<double>(blocks * kBlockBytes) / seconds / 1e9;
  };
  const auto timed = [&rate](auto work) -> absl::StatusOr<double> {
    absl::Status status;
    const double seconds = SecondsOf([&] { status = work(); });
    RETURN_IF_ERROR(status);
    return rate(seconds);
  };
  // A round begins with its put: what is there already is not stored again.
  std::vector<Arm> arms = {
      {"put",
       [&] {
         ++round;
         return timed(
             [&] { return bed->Put(ns, static_cast<uint64_t>(round), blocks, kBlockBytes); });
       }},
      {"get", [&] {
         return timed(
             [&] { return bed->Get(ns, static_cast<uint64_t>(round), blocks, kBlockBytes); });
       }}};
  if (store.ok()) {
    arms.push_back({peer.name + " put", [&]() -> absl::StatusOr<double> {
                      ASSIGN_OR_RETURN(const double seconds, (*store)->Put(round));
                      return rate(seconds);
                    }});
    arms.push_back({peer.name + " get", [&]() -> absl::StatusOr<double> {
                      ASSIGN_OR_RETURN(const double seconds, (*store)->Get(round));
                      return rate(seconds);
                    }});
  }
  ASSIGN_OR_RETURN(
      const std::vector<double> rates,
      MedianOfRounds(absl::StrCat("rpc vs ", peer.name), ByExtent(extent, 1, 7), arms));
  std::vector<Result> rows;
  for (size_t i = 0; i < 2; ++i) {
    Result row{.metric = absl::StrCat("rpc.", i == 0 ? "put" : "get", "_2mib_vs_", peer.name),
               .unit = "GB/s",
               .ours = rates[i]};
    if (store.ok()) row.peer = rates[2 + i];
    row.context = {
        {"ours", "one connection over loopback TCP, checksums taken and verified"},
        {"peer", store.ok() ? (*store)->name() : absl::StrCat("none: ", store.status().message())}};
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace

absl::StatusOr<std::vector<Result>> MeasureRpcPeers(Extent extent, const std::string& peers) {
  std::vector<Result> rows;
  for (const Peer& peer :
       {Peer{"mooncake", "mooncake_store.py"}, Peer{"lmcache", "lmcache_server.py"}}) {
    ASSIGN_OR_RETURN(const std::vector<Result> more, MeasurePeer(extent, peer, peers));
    rows.insert(rows.end(), more.begin(), more.end());
  }
  return rows;
}

}  // namespace reprise::bench
