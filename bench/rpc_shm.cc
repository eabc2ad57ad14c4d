#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "api/client/channel.h"
#include "api/client/mapped_arena.h"
#include "api/client/session.h"
#include "api/status_codec.h"
#include "bench/rounds.h"
#include "bench/rpc_bed.h"
#include "bench/rpc_rows.h"
#include "bench/synthetic.h"
#include "cachestore/base/status_macros.h"

namespace reprise::bench {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

// A client on the server's machine: a session with the arena mapped.
struct LocalClient {
  std::unique_ptr<api::CacheSession> session;
  std::unique_ptr<api::MappedArena> arena;
  std::unique_ptr<api::v1::Cache::Stub> stub;

  std::string session_id() const { return std::string(session->id()); }
};

absl::StatusOr<LocalClient> Attach(const RpcBed& bed) {
  LocalClient client;
  ASSIGN_OR_RETURN(
      client.session,
      api::CacheSession::Open(bed.address(), {.shared_memory = true, .write_shared_memory = true}));
  ASSIGN_OR_RETURN(client.arena,
                   api::MappedArena::Map(client.session->id(),
                                         client.session->opened().shared_memory(), kRpcTimeout));
  client.stub = api::v1::Cache::NewStub(api::ConnectTo(bed.address()));
  return client;
}

// Leases the blocks of `request`, reads the first byte of the first one, and gives them back. What
// of it took how many seconds.
struct GetTimes {
  double with_rpc;  // Acquire and the byte
  double held;      // the byte, by the place that Acquire told
};

absl::StatusOr<GetTimes> Get(LocalClient& client, const api::v1::AcquireRequest& request,
                             int64_t block_bytes) {
  api::v1::AcquireResponse response;
  absl::Status status;
  GetTimes times = {};
  volatile std::byte first{};
  const auto read = [&] {
    const auto block = client.arena->Block(response.lease().places(0), block_bytes);
    status = block.status();
    if (block.ok()) first = (*block)[0];
  };
  times.with_rpc = SecondsOf([&] {
    grpc::ClientContext context;
    status = api::FromGrpc(client.stub->Acquire(&context, request, &response));
    if (status.ok() && response.lease().places().empty()) {
      status = absl::DataLossError("the block is not there");
    }
    if (status.ok()) read();
  });
  RETURN_IF_ERROR(status);
  times.held = SecondsOf(read);
  RETURN_IF_ERROR(status);
  grpc::ClientContext context;
  api::v1::ReleaseRequest release;
  release.set_session_id(client.session_id());
  release.add_lease_ids(response.lease().lease_id());
  api::v1::ReleaseResponse released;
  RETURN_IF_ERROR(api::FromGrpc(client.stub->Release(&context, release, &released)));
  return times;
}

double MedianMicroseconds(std::vector<double> seconds) { return Median(std::move(seconds)) * 1e6; }

// The rows of one block size.
absl::StatusOr<std::vector<Result>> MeasureGets(Extent extent, RpcBed* bed, LocalClient* client,
                                                int64_t block_bytes, const std::string& size) {
  ASSIGN_OR_RETURN(const uint32_t ns, bed->Open(block_bytes));
  RETURN_IF_ERROR(bed->Put(ns, 1, 1, block_bytes));
  const std::vector<cachestore::TokenId> tokens = SyntheticTokens(1, kBlockTokens);
  api::v1::AcquireRequest request;
  request.set_session_id(client->session_id());
  request.set_namespace_id(ns);
  request.mutable_token_ids()->Assign(tokens.begin(), tokens.end());
  std::vector<double> with_rpc;
  std::vector<double> held;
  for (int i = 0; i < ByExtent(extent, 20, 3000); ++i) {
    ASSIGN_OR_RETURN(const GetTimes times, Get(*client, request, block_bytes));
    with_rpc.push_back(times.with_rpc);
    held.push_back(times.held);
  }
  Result rpc{
      .metric = absl::StrCat("shm.get_", size), .unit = "us", .ours = MedianMicroseconds(with_rpc)};
  rpc.context = {
      {"ours", "p50 of Acquire over the Unix socket and reading the first byte in place"}};
  std::vector<Result> rows = {std::move(rpc)};
  if (block_bytes == 2 * kMiB) {
    rows[0].goal = Goal{Goal::Of::kOurs, Goal::Bound::kAtMost, 60};
    Result lease{.metric = absl::StrCat("shm.get_", size, "_held"),
                 .unit = "us",
                 .ours = std::max(MedianMicroseconds(held), 1e-3)};
    lease.goal = Goal{Goal::Of::kOurs, Goal::Bound::kAtMost, 5};
    lease.context = {{"ours", "p50 of reading the first byte of a block whose lease is held"}};
    rows.push_back(std::move(lease));
  }
  return rows;
}

// Writes batches of blocks into granted slots and seals them.
class Writer {
 public:
  Writer(RpcBed* bed, LocalClient* client, uint32_t ns, int64_t block_bytes, int64_t batch_blocks)
      : bed_(bed), client_(client), ns_(ns), block_bytes_(block_bytes), batch_(batch_blocks) {}

  absl::Status Put() {
    const std::vector<cachestore::TokenId> tokens =
        SyntheticTokens(next_chain_++, batch_ * kBlockTokens);
    api::v1::GrantRequest wish;
    wish.set_session_id(client_->session_id());
    wish.set_namespace_id(ns_);
    wish.set_num_blocks(static_cast<int32_t>(batch_));
    grpc::ClientContext grant_context;
    api::v1::GrantResponse grant;
    RETURN_IF_ERROR(api::FromGrpc(client_->stub->Grant(&grant_context, wish, &grant)));
    if (grant.slots_size() != batch_) return absl::ResourceExhaustedError("too few slots granted");
    api::v1::SealRequest seal;
    seal.set_session_id(client_->session_id());
    seal.set_namespace_id(ns_);
    for (int i = 0; i < grant.slots_size(); ++i) {
      const auto source = bed_->source().subspan(static_cast<size_t>(i * block_bytes_),
                                                 static_cast<size_t>(block_bytes_));
      api::v1::SealBlock& block = *seal.add_blocks();
      ASSIGN_OR_RETURN(const absl::Span<std::byte> slot,
                       client_->arena->Slot(grant.slots(i), block_bytes_));
      std::memcpy(slot.data(), source.data(), source.size());
      block.set_grant_id(grant.slots(i).grant_id());
      const auto first = tokens.begin() + static_cast<ptrdiff_t>(i) * kBlockTokens;
      block.mutable_token_ids()->Assign(first, first + kBlockTokens);
    }
    grpc::ClientContext seal_context;
    api::v1::PutResponse sealed;
    RETURN_IF_ERROR(api::FromGrpc(client_->stub->Seal(&seal_context, seal, &sealed)));
    if (sealed.stored_blocks() == batch_) return absl::OkStatus();
    return absl::DataLossError(absl::StrCat("not all were sealed: ", sealed.reject_reason()));
  }

 private:
  RpcBed* const bed_;
  LocalClient* const client_;
  const uint32_t ns_;
  const int64_t block_bytes_;
  const int64_t batch_;
  uint64_t next_chain_ = 1000;
};

absl::StatusOr<Result> MeasurePuts(Extent extent, RpcBed* bed, LocalClient* client) {
  const int64_t block_bytes = 2 * kMiB;
  const int64_t batch = ByExtent<int64_t>(extent, 4, 32);
  const int64_t batches = ByExtent<int64_t>(extent, 1, 8);
  ASSIGN_OR_RETURN(const uint32_t ns, bed->Open(block_bytes));
  Writer writer(bed, client, ns, block_bytes, batch);
  const auto rate = [&](double seconds) {
    return static_cast<double>(batch * batches * block_bytes) / seconds / 1e9;
  };
  const Arm arms[] = {{"memcpy",
                       [&]() -> absl::StatusOr<double> {
                         return rate(SecondsOf([&] {
                           for (int64_t i = 0; i < batches * batch; ++i) {
                             const int64_t at = i % batch * block_bytes;
                             std::memcpy(bed->target().data() + at, bed->source().data() + at,
                                         block_bytes);
                           }
                         }));
                       }},
                      {"put", [&]() -> absl::StatusOr<double> {
                         absl::Status status;
                         const double seconds = SecondsOf([&] {
                           for (int64_t i = 0; i < batches && status.ok(); ++i)
                             status = writer.Put();
                         });
                         RETURN_IF_ERROR(status);
                         return rate(seconds);
                       }}};
  ASSIGN_OR_RETURN(const std::vector<double> rates,
                   MedianOfRounds("shm.put", ByExtent(extent, 1, 15), arms));
  Result row{.metric = "shm.put_2mib", .unit = "GB/s", .ours = rates[1]};
  row.limit = rates[0];
  row.goal = Goal{Goal::Of::kOursOverLimit, Goal::Bound::kAtLeast, 0.90};
  row.context = {{"ours", absl::StrCat("Grant, copy into the slots, Seal, which hashes, ", batch,
                                       " blocks a batch, one thread")},
                 {"limit", "memcpy of the same blocks between memory of this process"}};
  return row;
}

}  // namespace

absl::StatusOr<std::vector<Result>> MeasureRpcSharedMemory(Extent extent) {
  const int64_t data_bytes = ByExtent<int64_t>(extent, 16, 64) * kMiB;
  ASSIGN_OR_RETURN(const std::unique_ptr<RpcBed> bed,
                   RpcBed::Start(extent, ByExtent<int64_t>(extent, 128, 2048) * kMiB, data_bytes,
                                 RpcBed::Socket::kUnix));
  ASSIGN_OR_RETURN(LocalClient client, Attach(*bed));
  std::vector<Result> rows;
  for (const auto& [bytes, size] : {std::pair<int64_t, std::string>{kMiB / 8, "128kib"},
                                    {2 * kMiB, "2mib"},
                                    {16 * kMiB, "16mib"}}) {
    ASSIGN_OR_RETURN(const std::vector<Result> gets,
                     MeasureGets(extent, bed.get(), &client, bytes, size));
    rows.insert(rows.end(), gets.begin(), gets.end());
  }
  ASSIGN_OR_RETURN(rows.emplace_back(), MeasurePuts(extent, bed.get(), &client));
  return rows;
}

}  // namespace reprise::bench
