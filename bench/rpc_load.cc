#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "api/client/channel.h"
#include "api/limits.h"
#include "bench/rounds.h"
#include "bench/rpc_bed.h"
#include "bench/rpc_rows.h"
#include "bench/synthetic.h"
#include "cachestore/base/status_macros.h"

namespace reprise::bench {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;
constexpr int64_t kBlockBytes = 2 * kMiB;

// 99th percentile of getting one block, in microseconds.
absl::StatusOr<double> GetP99(RpcBed& bed, uint32_t ns, uint64_t chain, int calls) {
  std::vector<double> seconds;
  for (int i = 0; i < calls; ++i) {
    absl::Status status;
    seconds.push_back(SecondsOf([&] { status = bed.Get(ns, chain, 1, kBlockBytes); }));
    RETURN_IF_ERROR(status);
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds[seconds.size() * 99 / 100] * 1e6;
}

// Puts without a pause, over a connection of its own, while this lives.
class Saturation {
 public:
  Saturation(RpcBed* bed, uint32_t ns, std::atomic<uint64_t>* next_chain)
      : thread_([this, bed, ns, next_chain] {
          // Its source is what the other thread's gets do not touch.
          while (!stop_) status_.Update(bed->Put(ns, (*next_chain)++, 16, kBlockBytes));
        }) {}
  absl::Status Stop() {
    stop_ = true;
    thread_.join();
    return status_;
  }

 private:
  std::atomic<bool> stop_ = false;
  absl::Status status_;
  std::thread thread_;
};

absl::StatusOr<Result> MeasureMixed(Extent extent) {
  ASSIGN_OR_RETURN(
      const std::unique_ptr<RpcBed> bed,
      RpcBed::Start(extent, ByExtent<int64_t>(extent, 128, 2048) * kMiB, 16 * kBlockBytes));
  ASSIGN_OR_RETURN(const uint32_t ns, bed->Open(kBlockBytes));
  constexpr uint64_t kRead = 1;
  std::atomic<uint64_t> next_chain = 2;
  const int calls = ByExtent(extent, 10, 500);
  // The block that is read is put again, should puts have evicted it.
  const auto p99 = [&]() -> absl::StatusOr<double> {
    RETURN_IF_ERROR(bed->Put(ns, kRead, 1, kBlockBytes));
    return GetP99(*bed, ns, kRead, calls);
  };
  const Arm arms[] = {{"idle", p99}, {"beside puts", [&]() -> absl::StatusOr<double> {
                                        Saturation puts(bed.get(), ns, &next_chain);
                                        const absl::StatusOr<double> figure = p99();
                                        RETURN_IF_ERROR(puts.Stop());
                                        return figure;
                                      }}};
  ASSIGN_OR_RETURN(const std::vector<double> us,
                   MedianOfRounds("rpc.mixed", ByExtent(extent, 1, 7), arms));
  Result row{.metric = "rpc.mixed_get_p99", .unit = "us", .ours = us[1]};
  row.limit = us[0];
  row.goal = Goal{Goal::Of::kOursOverLimit, Goal::Bound::kAtMost, 3};
  row.context = {{"ours", "99th percentile of getting 2 MiB while another client puts all it can"},
                 {"limit", "the same without the other client"}};
  return row;
}

// Resident memory of `pid` that is not shared with others, in bytes: without the arena.
int64_t PrivateBytes(pid_t pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/statm"));
  int64_t size = 0;
  int64_t resident = 0;
  int64_t shared = 0;
  file >> size >> resident >> shared;
  return (resident - shared) * sysconf(_SC_PAGESIZE);
}

// Get calls whose clients send the request and read nothing.
struct StalledCall {
  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReader<api::v1::GetResponse>> reader;
};

absl::StatusOr<Result> MeasureStalledReaders(Extent extent) {
  const int readers = ByExtent(extent, 20, 1000);
  const int connections = ByExtent(extent, 2, 16);
  const int64_t blocks = ByExtent<int64_t>(extent, 8, 64);
  ASSIGN_OR_RETURN(
      const std::unique_ptr<RpcBed> bed,
      RpcBed::Start(extent, ByExtent<int64_t>(extent, 64, 2048) * kMiB, blocks * kBlockBytes));
  ASSIGN_OR_RETURN(const uint32_t ns, bed->Open(kBlockBytes));
  RETURN_IF_ERROR(bed->Put(ns, 1, blocks, kBlockBytes));
  RETURN_IF_ERROR(bed->Get(ns, 1, blocks, kBlockBytes));
  const int64_t before = PrivateBytes(bed->server_pid());
  const std::vector<cachestore::TokenId> tokens = SyntheticTokens(1, blocks * kBlockTokens);
  api::v1::GetRequest request;
  request.set_namespace_id(ns);
  request.mutable_token_ids()->Assign(tokens.begin(), tokens.end());
  std::vector<std::unique_ptr<api::v1::Cache::Stub>> stubs;
  for (int i = 0; i < connections; ++i) {
    stubs.push_back(api::v1::Cache::NewStub(api::ConnectTo(bed->address())));
  }
  std::vector<StalledCall> calls(static_cast<size_t>(readers));
  int64_t most = 0;
  for (int i = 0; i < readers; ++i) {
    StalledCall& call = calls[static_cast<size_t>(i)];
    call.reader = stubs[static_cast<size_t>(i % connections)]->Get(&call.context, request);
    most = std::max(most, PrivateBytes(bed->server_pid()));
  }
  // Somebody who reads is served beside them.
  double seconds = 0;
  absl::Status status;
  seconds = SecondsOf([&] { status = bed->Get(ns, 1, blocks, kBlockBytes); });
  RETURN_IF_ERROR(status);
  most = std::max(most, PrivateBytes(bed->server_pid()));
  for (StalledCall& call : calls) {
    call.context.TryCancel();
    api::v1::GetResponse rest;
    while (call.reader->Read(&rest)) {
    }
    call.reader->Finish();
  }
  Result row{.metric = "rpc.stalled_readers_bytes",
             .unit = "bytes",
             .ours = static_cast<double>(std::max<int64_t>(most - before, 1))};
  row.limit = static_cast<double>(api::kMaxSendBytes);
  row.goal = Goal{Goal::Of::kOursOverLimit, Goal::Bound::kAtMost, 1};
  row.context = {
      {"ours", absl::StrCat("growth of the server's private memory with ", readers, " readers of ",
                            blocks, " blocks that do not read")},
      {"limit",
       "bytes of RAM that all Get calls may pin (api/limits.h); the blocks are not copied"},
      {"other_reader_seconds", absl::StrCat(seconds)}};
  return row;
}

}  // namespace

absl::StatusOr<std::vector<Result>> MeasureRpcLoad(Extent extent) {
  std::vector<Result> rows;
  ASSIGN_OR_RETURN(rows.emplace_back(), MeasureMixed(extent));
  ASSIGN_OR_RETURN(rows.emplace_back(), MeasureStalledReaders(extent));
  return rows;
}

}  // namespace reprise::bench
