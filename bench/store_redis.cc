#include <cstddef>
#include <cstring>
#include <map>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "bench/peers/redis_clients.h"
#include "bench/peers/redis_server.h"
#include "bench/rounds.h"
#include "bench/store_rows.h"
#include "bench/synthetic.h"
#include "bench/temp_folder.h"
#include "cachestore/base/hash.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/memory/host_arena.h"
#include "cachestore/store/tiered_store.h"

namespace reprise::bench {
namespace {

using cachestore::HostArena;
using cachestore::NamespaceHandle;
using cachestore::TieredStore;
using cachestore::TokenId;

constexpr int64_t kMiB = int64_t{1} << 20;
constexpr int64_t kBlockBytes = 2 * kMiB;
constexpr int kConnections = 4;

// Blocks of one-block prompts in a store that holds one round of them and evicts the round before.
class OurBlocks {
 public:
  OurBlocks(TieredStore* store, const NamespaceHandle& ns, absl::Span<const std::byte> source)
      : store_(store), ns_(ns), source_(source) {}

  // Puts everything in the source under new prompts.
  absl::Status Put() {
    prompts_.clear();
    for (size_t at = 0; at < source_.size(); at += kBlockBytes) {
      prompts_.push_back(SyntheticTokens(next_chain_++, kBlockTokens));
      ASSIGN_OR_RETURN(cachestore::WritableBlock block, store_->Allocate(ns_));
      const uint64_t hash =
          cachestore::CopyAndHash64(source_.subspan(at, kBlockBytes), block.bytes().data());
      store_->Seal(ns_, std::move(block), ns_.root, prompts_.back(), hash);
    }
    return absl::OkStatus();
  }

  // Copies what was put last to `target`, as large as the source. kDataLoss: a block is missing.
  absl::Status Get(absl::Span<std::byte> target) const {
    for (size_t i = 0; i < prompts_.size(); ++i) {
      cachestore::PinTicket ticket = store_->Pin(ns_, prompts_[i], 1, nullptr);
      const cachestore::PinnedPrefix prefix = ticket.Take();
      std::byte* const to = target.data() + i * kBlockBytes;
      if (prefix.blocks.size() == 1) std::memcpy(to, prefix.blocks[0].bytes().data(), kBlockBytes);
      if (prefix.blocks.size() != 1 || *to != source_[i * kBlockBytes]) {
        return absl::DataLossError(absl::StrCat("block ", i, " is not what was put"));
      }
    }
    return absl::OkStatus();
  }

 private:
  TieredStore* const store_;
  const NamespaceHandle ns_;
  const absl::Span<const std::byte> source_;
  uint64_t next_chain_ = 0;
  std::vector<std::vector<TokenId>> prompts_;  // of the blocks put last
};

// An arm of the seconds that `work` takes.
Arm TimedArm(const std::string& name, std::function<absl::Status()> work) {
  return {name, [work = std::move(work)]() -> absl::StatusOr<double> {
            absl::Status status;
            const double seconds = SecondsOf([&] { status = work(); });
            RETURN_IF_ERROR(status);
            return seconds;
          }};
}

// The peer, or none where redis-server is not installed.
struct Redis {
  std::unique_ptr<RedisServer> server;
  std::unique_ptr<RedisClients> clients;
};

absl::StatusOr<Redis> StartRedis(const std::string& directory, int64_t data_bytes) {
  Redis redis;
  // While a value is replaced there are two of it, and each connection buffers one.
  auto server = RedisServer::Start(directory, 2 * data_bytes + 256 * kMiB);
  if (absl::IsNotFound(server.status())) return redis;
  RETURN_IF_ERROR(server.status());
  redis.server = *std::move(server);
  ASSIGN_OR_RETURN(redis.clients, RedisClients::Connect(redis.server->socket_path(), kConnections));
  return redis;
}

}  // namespace

absl::StatusOr<std::vector<Result>> MeasureRamPeer(Extent extent) {
  const int64_t data_bytes = ByExtent<int64_t>(extent, 16 * kMiB, 256 * kMiB);
  cachestore::StoreOptions options;
  options.ram.capacity_bytes = data_bytes;
  ASSIGN_OR_RETURN(const std::unique_ptr<TieredStore> store, TieredStore::Open(options));
  ASSIGN_OR_RETURN(const NamespaceHandle ns, store->OpenNamespace(SyntheticIdentity(kBlockBytes)));
  ASSIGN_OR_RETURN(const std::unique_ptr<HostArena> source, HostArena::Reserve(data_bytes));
  ASSIGN_OR_RETURN(const std::unique_ptr<HostArena> target, HostArena::Reserve(data_bytes));
  for (int64_t at = 0; at < data_bytes; at += kBlockBytes) {
    std::memset(source->bytes().data() + at, static_cast<int>(at / kBlockBytes + 1), kBlockBytes);
  }
  OurBlocks ours(store.get(), ns, source->bytes());
  ASSIGN_OR_RETURN(const TempFolder folder, TempFolder::Make("reprise-bench-redis"));
  ASSIGN_OR_RETURN(const Redis redis, StartRedis(folder.path(), data_bytes));
  const absl::string_view values(reinterpret_cast<const char*>(source->bytes().data()), data_bytes);

  std::vector<Arm> arms = {TimedArm("put", [&] { return ours.Put(); }),
                           TimedArm("get", [&] { return ours.Get(target->bytes()); })};
  if (redis.clients != nullptr) {
    arms.push_back(TimedArm("SET", [&] { return redis.clients->Set(values, kBlockBytes); }));
    arms.push_back(TimedArm("GET", [&] { return redis.clients->Get(values, kBlockBytes); }));
  }
  ASSIGN_OR_RETURN(const std::vector<double> seconds,
                   MedianOfRounds("ram vs redis", ByExtent(extent, 1, 11), arms));
  std::vector<Result> rows = {{.metric = "ram.put_2mib_vs_redis"},
                              {.metric = "ram.get_2mib_vs_redis"}};
  const auto rate = [&](double s) { return static_cast<double>(data_bytes) / s / 1e9; };
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].unit = "GB/s";
    rows[i].ours = rate(seconds[i]);
    if (redis.clients != nullptr) rows[i].peer = rate(seconds[rows.size() + i]);
    rows[i].context = {
        {"ours", "in process, one thread"},
        {"peer", redis.clients == nullptr
                     ? "none: redis-server is not installed"
                     : absl::StrCat("redis-server on a Unix socket, no persistence, hiredis, ",
                                    kConnections, " connections in as many threads")}};
  }
  return rows;
}

}  // namespace reprise::bench
