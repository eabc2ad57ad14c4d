#include "bench/rpc_bed.h"

#include <unistd.h>

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "api/identity_codec.h"
#include "bench/synthetic.h"
#include "cachestore/base/status_macros.h"

namespace reprise::bench {

using cachestore::TokenId;

absl::StatusOr<std::unique_ptr<RpcBed>> RpcBed::Start(Extent extent, int64_t ram_bytes,
                                                      int64_t data_bytes, Socket socket) {
  ASSIGN_OR_RETURN(TempFolder folder, TempFolder::Make("reprise-bench-rpc"));
  std::unique_ptr<RpcBed> bed(new RpcBed(std::move(folder)));
  const std::string log = absl::StrCat(bed->folder_.path(), "/log");
  const std::string where = socket == Socket::kTcp
                                ? "127.0.0.1:0"
                                : absl::StrCat("unix:", bed->folder_.path(), "/socket");
  if (extent == Extent::kFull) {
    std::vector<std::string> flags = {"--ram-bytes", absl::StrCat(ram_bytes)};
    if (socket == Socket::kUnix) flags.insert(flags.end(), {"--listen", where});
    ASSIGN_OR_RETURN(bed->process_, ServerProcess::Start(std::move(flags), log));
    bed->address_ = bed->process_->address();
  } else {
    cachestore::StoreOptions options;
    options.ram.capacity_bytes = ram_bytes;
    ASSIGN_OR_RETURN(bed->store_, cachestore::TieredStore::Open(options));
    ASSIGN_OR_RETURN(const api::ListenAddress listen, api::ParseListenAddress(where));
    api::ServedParts parts;
    parts.store = bed->store_.get();
    if (socket == Socket::kUnix) parts.arena_socket = absl::StrCat(listen.unix_path, ".arena");
    ASSIGN_OR_RETURN(bed->server_, api::Server::Start(listen, parts));
    bed->address_ = bed->server_->address().ToString();
  }
  bed->client_ = std::make_unique<api::CacheClient>(bed->address_);
  ASSIGN_OR_RETURN(bed->source_, cachestore::HostArena::Reserve(data_bytes));
  ASSIGN_OR_RETURN(bed->target_, cachestore::HostArena::Reserve(data_bytes));
  std::memset(bed->source().data(), 1, bed->source().size());
  std::memset(bed->target().data(), 2, bed->target().size());
  return bed;
}

RpcBed::~RpcBed() = default;

pid_t RpcBed::server_pid() const { return process_ == nullptr ? getpid() : process_->pid(); }

absl::StatusOr<uint32_t> RpcBed::Open(int64_t block_bytes) {
  cachestore::NamespaceIdentity identity = SyntheticIdentity(block_bytes);
  identity.tenant = "bench";
  ASSIGN_OR_RETURN(const api::v1::OpenNamespaceResponse opened,
                   client_->OpenNamespace(api::ToProto(identity), kRpcTimeout));
  return opened.namespace_id();
}

absl::Status RpcBed::Put(uint32_t namespace_id, uint64_t chain, int64_t count,
                         int64_t block_bytes) {
  const std::vector<TokenId> tokens = SyntheticTokens(chain, count * kBlockTokens);
  std::vector<api::PutBlock> blocks;
  for (int64_t i = 0; i < count; ++i) {
    const std::byte* const at = source().data() + i * block_bytes;
    blocks.push_back({absl::MakeConstSpan(tokens).subspan(i * kBlockTokens, kBlockTokens),
                      {reinterpret_cast<const char*>(at), static_cast<size_t>(block_bytes)}});
  }
  ASSIGN_OR_RETURN(const api::v1::PutResponse put,
                   client_->Put(namespace_id, {}, blocks, kRpcTimeout));
  if (put.stored_blocks() == count) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("only ", put.stored_blocks(), " of ", count,
                                          " blocks were stored: ", put.reject_reason()));
}

absl::Status RpcBed::Get(uint32_t namespace_id, uint64_t chain, int64_t count,
                         int64_t block_bytes) {
  const std::vector<TokenId> tokens = SyntheticTokens(chain, count * kBlockTokens);
  api::v1::GetRequest request;
  request.set_namespace_id(namespace_id);
  request.mutable_token_ids()->Assign(tokens.begin(), tokens.end());
  ASSIGN_OR_RETURN(const int64_t got,
                   client_->GetInto(request, kRpcTimeout, [&](int64_t i, size_t) {
                     return target().data() + i * block_bytes;
                   }));
  if (got == count) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("only ", got, " of ", count, " blocks came"));
}

}  // namespace reprise::bench
