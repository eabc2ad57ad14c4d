#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "bench/peers/redis_clients.h"
#include "bench/peers/redis_server.h"
#include "bench/raw_tcp.h"
#include "bench/rounds.h"
#include "bench/rpc_bed.h"
#include "bench/rpc_rows.h"
#include "cachestore/base/status_macros.h"

namespace reprise::bench {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;
constexpr int kRedisConnections = 4;

// What is moved in a round: batches, each by one call.
struct Load {
  int64_t block_bytes = 0;
  int64_t batch_blocks = 0;
  int64_t batches = 0;
  int64_t batch_bytes() const { return block_bytes * batch_blocks; }
  int64_t bytes() const { return batch_bytes() * batches; }
};

// An arm of the rate, in GB/s, at which `work` moves the load's bytes.
Arm RateArm(const std::string& name, const Load& load, std::function<absl::Status()> work) {
  return {name, [load, work = std::move(work)]() -> absl::StatusOr<double> {
            absl::Status status;
            const double seconds = SecondsOf([&] { status = work(); });
            RETURN_IF_ERROR(status);
            return static_cast<double>(load.bytes()) / seconds / 1e9;
          }};
}

// Puts and gets of one load, ours, raw TCP's, and of redis-server where there is one.
class Transfers {
 public:
  Transfers(const Load& load, RpcBed* bed, RawTcp* tcp, uint32_t ns)
      : load_(load), bed_(bed), tcp_(tcp), ns_(ns) {}

  // New chains each time: a block that is there already is not stored again.
  absl::Status Put() {
    first_chain_ += load_.batches;
    for (int64_t i = 0; i < load_.batches; ++i) {
      RETURN_IF_ERROR(bed_->Put(ns_, first_chain_ + i, load_.batch_blocks, load_.block_bytes));
    }
    return absl::OkStatus();
  }
  // Those that were put last.
  absl::Status Get() {
    for (int64_t i = 0; i < load_.batches; ++i) {
      RETURN_IF_ERROR(bed_->Get(ns_, first_chain_ + i, load_.batch_blocks, load_.block_bytes));
    }
    return absl::OkStatus();
  }
  absl::Status TcpPut() {
    for (int64_t i = 0; i < load_.batches; ++i) {
      RETURN_IF_ERROR(tcp_->Put(bed_->source().first(load_.batch_bytes())));
    }
    return absl::OkStatus();
  }
  absl::Status TcpGet() {
    for (int64_t i = 0; i < load_.batches; ++i) {
      RETURN_IF_ERROR(tcp_->Get(bed_->target().first(load_.batch_bytes())));
    }
    return absl::OkStatus();
  }

 private:
  const Load load_;
  RpcBed* const bed_;
  RawTcp* const tcp_;
  const uint32_t ns_;
  uint64_t first_chain_ = 0;
};

Result Row(const std::string& metric, double ours) {
  Result row{.metric = metric, .unit = "GB/s", .ours = ours};
  row.context = {{"ours", "one connection over loopback, one call at a time, checksums verified"}};
  return row;
}

absl::StatusOr<std::vector<Result>> MeasureAgainstTcp(Extent extent, const Load& load, RpcBed* bed,
                                                      RawTcp* tcp, const std::string& size,
                                                      double goal) {
  ASSIGN_OR_RETURN(const uint32_t ns, bed->Open(load.block_bytes));
  Transfers transfers(load, bed, tcp, ns);
  const Arm arms[] = {RateArm("tcp put", load, [&] { return transfers.TcpPut(); }),
                      RateArm("put", load, [&] { return transfers.Put(); }),
                      RateArm("tcp get", load, [&] { return transfers.TcpGet(); }),
                      RateArm("get", load, [&] { return transfers.Get(); })};
  ASSIGN_OR_RETURN(const std::vector<double> rates,
                   MedianOfRounds(absl::StrCat("rpc ", size), ByExtent(extent, 1, 15), arms));
  std::vector<Result> rows = {Row(absl::StrCat("rpc.put_", size), rates[1]),
                              Row(absl::StrCat("rpc.get_", size), rates[3])};
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].limit = rates[2 * i];
    rows[i].goal = Goal{Goal::Of::kOursOverLimit, Goal::Bound::kAtLeast, goal};
    rows[i].context["limit"] = "the same bytes over one raw TCP connection";
    rows[i].context["batch"] = absl::StrCat(load.batch_blocks, " blocks a call");
  }
  return rows;
}

absl::StatusOr<std::vector<Result>> MeasureAgainstRedis(Extent extent, const Load& load,
                                                        RpcBed* bed) {
  ASSIGN_OR_RETURN(const TempFolder folder, TempFolder::Make("reprise-bench-redis"));
  // While a value is replaced there are two of it, and each connection buffers one.
  auto server = RedisServer::Start(folder.path(), 2 * load.batch_bytes() + 256 * kMiB);
  if (!server.ok() && !absl::IsNotFound(server.status())) return server.status();
  std::unique_ptr<RedisClients> redis;
  ASSIGN_OR_RETURN(const uint32_t ns, bed->Open(load.block_bytes));
  Transfers transfers(load, bed, nullptr, ns);
  std::vector<Arm> arms = {RateArm("put", load, [&] { return transfers.Put(); }),
                           RateArm("get", load, [&] { return transfers.Get(); })};
  const absl::string_view values(reinterpret_cast<const char*>(bed->source().data()),
                                 static_cast<size_t>(load.batch_bytes()));
  if (server.ok()) {
    ASSIGN_OR_RETURN(redis, RedisClients::Connect((*server)->socket_path(), kRedisConnections));
    const auto repeat = [&load](std::function<absl::Status()> work) {
      return [&load, work = std::move(work)]() -> absl::Status {
        for (int64_t i = 0; i < load.batches; ++i) RETURN_IF_ERROR(work());
        return absl::OkStatus();
      };
    };
    arms.push_back(
        RateArm("SET", load, repeat([&] { return redis->Set(values, load.block_bytes); })));
    arms.push_back(
        RateArm("GET", load, repeat([&] { return redis->Get(values, load.block_bytes); })));
  }
  ASSIGN_OR_RETURN(const std::vector<double> rates,
                   MedianOfRounds("rpc vs redis", ByExtent(extent, 1, 15), arms));
  std::vector<Result> rows = {Row("rpc.put_2mib_vs_redis", rates[0]),
                              Row("rpc.get_2mib_vs_redis", rates[1])};
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].goal = Goal{Goal::Of::kOursOverPeer, Goal::Bound::kAtLeast, 1.2};
    rows[i].context["peer"] =
        redis == nullptr ? "none: redis-server is not installed"
                         : absl::StrCat("redis-server on a Unix socket, no persistence, ",
                                        kRedisConnections, " connections in as many threads");
    if (redis != nullptr) rows[i].peer = rates[2 + i];
  }
  return rows;
}

}  // namespace

absl::StatusOr<std::vector<Result>> MeasureRpcTransfer(Extent extent) {
  const Load large = {.block_bytes = 2 * kMiB,
                      .batch_blocks = ByExtent<int64_t>(extent, 4, 64),
                      .batches = ByExtent<int64_t>(extent, 1, 2)};
  const Load small = {
      .block_bytes = kMiB / 8, .batch_blocks = 64, .batches = ByExtent<int64_t>(extent, 1, 16)};
  const int64_t data_bytes = std::max(large.batch_bytes(), small.batch_bytes());
  // Two rounds of each fit, so what is evicted is older than what is asked for.
  ASSIGN_OR_RETURN(const std::unique_ptr<RpcBed> bed,
                   RpcBed::Start(extent, 4 * (large.bytes() + small.bytes()), data_bytes));
  ASSIGN_OR_RETURN(const std::unique_ptr<cachestore::HostArena> memory,
                   cachestore::HostArena::Reserve(data_bytes));
  ASSIGN_OR_RETURN(const std::unique_ptr<RawTcp> tcp, RawTcp::Connect(memory->bytes()));
  ASSIGN_OR_RETURN(std::vector<Result> rows,
                   MeasureAgainstTcp(extent, large, bed.get(), tcp.get(), "2mib", 0.90));
  ASSIGN_OR_RETURN(const std::vector<Result> batched,
                   MeasureAgainstTcp(extent, small, bed.get(), tcp.get(), "128kib", 0.80));
  ASSIGN_OR_RETURN(const std::vector<Result> redis, MeasureAgainstRedis(extent, large, bed.get()));
  rows.insert(rows.end(), batched.begin(), batched.end());
  rows.insert(rows.end(), redis.begin(), redis.end());
  return rows;
}

}  // namespace reprise::bench
