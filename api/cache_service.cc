#include "api/cache_service.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "api/call_time_limit.h"
#include "api/identity_codec.h"
#include "api/limits.h"
#include "api/pin_blocks.h"
#include "api/prompt_content.h"
#include "api/put_run.h"
#include "api/stats_codec.h"
#include "api/status_codec.h"
#include "cachestore/base/hash.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {
namespace {

using cachestore::NamespaceHandle;
using cachestore::TokenId;

using TokenIds = google::protobuf::RepeatedField<uint32_t>;

absl::Span<const TokenId> Tokens(const TokenIds& ids) {
  return {ids.data(), static_cast<size_t>(ids.size())};
}

using Keys = google::protobuf::RepeatedPtrField<std::string>;

// What the message says of the blocks of a prompt.
absl::StatusOr<PromptContent> ContentOf(const NamespaceHandle& ns, const TokenIds& token_ids,
                                        const Keys& external_keys) {
  return PromptContent::Of(ns, Tokens(token_ids), {external_keys.begin(), external_keys.end()});
}

// The message of block `index`; its pin goes with `block`.
v1::GetResponse BlockMessage(int64_t index, cachestore::BlockRef block, const char* tier) {
  v1::GetResponse message;
  message.set_block_index(index);
  message.set_payload(block.bytes().data(), block.bytes().size());
  message.set_payload_xxh3(cachestore::HashBytes64(block.bytes()));
  message.set_tier(tier);
  return message;
}

// Sends the blocks, the first of which is number `first`. A block is unpinned before its message is
// written, so a slow reader holds only what it has not been sent. False: the client has stopped
// reading.
bool SendBlocks(cachestore::PinnedPrefix pinned, int64_t first,
                grpc::ServerWriter<v1::GetResponse>* writer) {
  for (size_t i = 0; i < pinned.blocks.size(); ++i) {
    const char* tier = pinned.from_gpu[i] ? "gpu" : pinned.from_disk[i] ? "disk" : "ram";
    const int64_t index = first + static_cast<int64_t>(i);
    if (!writer->Write(BlockMessage(index, std::move(pinned.blocks[i]), tier))) return false;
  }
  return true;
}

}  // namespace

absl::StatusOr<NamespaceHandle> CacheService::Find(uint32_t namespace_id) const {
  absl::MutexLock lock(&mu_);
  const auto it = namespaces_.find(namespace_id);
  if (it == namespaces_.end()) {
    return absl::NotFoundError(
        absl::StrCat("namespace_id ", namespace_id,
                     " is not open in this server process; call OpenNamespace first"));
  }
  return it->second;
}

absl::StatusOr<v1::OpenNamespaceResponse> CacheService::Open(
    const v1::OpenNamespaceRequest& request) {
  if (request.hash_scheme() != cachestore::kHashSchemeId) {
    const absl::string_view echo =
        absl::string_view(request.hash_scheme()).substr(0, kMaxEchoBytes);
    return absl::FailedPreconditionError(absl::StrCat(
        "hash_scheme is \"", echo, "\"; this server speaks \"", cachestore::kHashSchemeId, "\""));
  }
  if (!request.has_identity()) return absl::InvalidArgumentError("identity is missing");
  ASSIGN_OR_RETURN(const cachestore::NamespaceIdentity identity, FromProto(request.identity()));
  ASSIGN_OR_RETURN(const NamespaceHandle ns, HandleOf(identity));
  v1::OpenNamespaceResponse response;
  response.set_namespace_id(ns.id + 1);
  response.set_hash_scheme(std::string(cachestore::kHashSchemeId));
  response.set_block_bytes(static_cast<int64_t>(ns.layout.BytesPerBlock()));
  return response;
}

absl::StatusOr<NamespaceHandle> CacheService::HandleOf(
    const cachestore::NamespaceIdentity& identity) {
  const std::string encoding = identity.Encode();
  // Held while the store opens it, which is quick, so that the limit is kept exactly.
  absl::MutexLock lock(&mu_);
  const auto known = ids_.find(encoding);
  if (known != ids_.end()) return namespaces_.at(known->second);
  if (static_cast<int64_t>(namespaces_.size()) >= kMaxOpenNamespaces) {
    return absl::ResourceExhaustedError(absl::StrCat("clients have opened ", namespaces_.size(),
                                                     " namespaces; at most ", kMaxOpenNamespaces,
                                                     " may be open in one server process"));
  }
  ASSIGN_OR_RETURN(const NamespaceHandle ns, store_->OpenNamespace(identity));
  namespaces_.emplace(ns.id + 1, ns);
  ids_.emplace(encoding, ns.id + 1);
  return ns;
}

grpc::Status CacheService::OpenNamespace(grpc::ServerContext* context,
                                         const v1::OpenNamespaceRequest* request,
                                         v1::OpenNamespaceResponse* response) {
  absl::StatusOr<v1::OpenNamespaceResponse> opened = Open(*request);
  if (!opened.ok()) return ToGrpc(opened.status());
  *response = *std::move(opened);
  return grpc::Status::OK;
}

grpc::Status CacheService::Match(grpc::ServerContext* context, const v1::MatchRequest* request,
                                 v1::MatchResponse* response) {
  const absl::StatusOr<NamespaceHandle> ns = Find(request->namespace_id());
  if (!ns.ok()) return ToGrpc(ns.status());
  const auto prompt = ContentOf(*ns, request->token_ids(), request->external_keys());
  if (!prompt.ok()) return ToGrpc(prompt.status());
  const cachestore::PrefixMatch match = store_->Match(*ns, prompt->view(), prompt->num_blocks());
  response->set_gpu_blocks(match.gpu_blocks);
  response->set_ram_blocks(match.ram_blocks);
  response->set_disk_blocks(match.disk_blocks);
  response->set_matched_tokens(match.total_blocks() * ns->layout.block_tokens);
  return grpc::Status::OK;
}

grpc::Status CacheService::Put(grpc::ServerContext* context,
                               grpc::ServerReader<v1::PutRequest>* reader,
                               v1::PutResponse* response) {
  const CallTimeLimit limit(context, kMaxStreamTime);
  v1::PutRequest message;
  if (!reader->Read(&message)) {
    return {grpc::StatusCode::INVALID_ARGUMENT, "Put needs at least one message"};
  }
  const absl::StatusOr<NamespaceHandle> ns = Find(message.namespace_id());
  if (!ns.ok()) return ToGrpc(ns.status());
  const auto prefix = ContentOf(*ns, message.prefix_token_ids(), message.prefix_external_keys());
  if (!prefix.ok()) return ToGrpc(prefix.status());
  absl::StatusOr<PutRun> run = PutRun::Begin(*context, store_, *ns, prefix->view());
  if (!run.ok()) return ToGrpc(run.status());
  absl::Status status;
  do {
    const absl::Time deadline =
        std::min(absl::FromChrono(context->deadline()), absl::Now() + kMaxRoomWait);
    status = run->Store(message, deadline);
  } while (status.ok() && reader->Read(&message));
  *response = run->Finish(status);
  return grpc::Status::OK;
}

grpc::Status CacheService::Get(grpc::ServerContext* context, const v1::GetRequest* request,
                               grpc::ServerWriter<v1::GetResponse>* writer) {
  const CallTimeLimit limit(context, kMaxStreamTime);
  const absl::StatusOr<NamespaceHandle> ns = Find(request->namespace_id());
  if (!ns.ok()) return ToGrpc(ns.status());
  const auto prompt = ContentOf(*ns, request->token_ids(), request->external_keys());
  if (!prompt.ok()) return ToGrpc(prompt.status());
  if (request->first_block() < 0) {
    return {grpc::StatusCode::INVALID_ARGUMENT,
            absl::StrCat("first_block is ", request->first_block(), "; it must not be negative")};
  }
  return StreamBlocks(*context, *ns, prompt->view(), request->first_block(), writer);
}

grpc::Status CacheService::StreamBlocks(const grpc::ServerContext& context,
                                        const NamespaceHandle& ns,
                                        const cachestore::BlockContent& prompt, int64_t first_block,
                                        grpc::ServerWriter<v1::GetResponse>* writer) {
  const int64_t block_bytes = static_cast<int64_t>(ns.layout.BytesPerBlock());
  // Of a small RAM a quarter, so that one reader does not stand in the way of its own loads.
  const int64_t count = std::max<int64_t>(
      1, std::min(kMaxPinnedBytes / block_bytes, store_->capacity_blocks(ns) / 4));
  for (int64_t first = first_block;;) {
    absl::StatusOr<PinnedRange> range =
        PinBlocks(context, *store_, ns, prompt, {.first = first, .count = count});
    if (!range.ok()) return ToGrpc(range.status());
    const int64_t pinned = static_cast<int64_t>(range->pinned.blocks.size());
    if (!SendBlocks(std::move(range->pinned), first, writer)) {
      return {grpc::StatusCode::CANCELLED, "the client has stopped reading"};
    }
    first += pinned;
    // There may be more behind a full range, or when RAM had no room for all of it.
    if (pinned == 0 || (pinned < count && pinned == range->matched_blocks)) return grpc::Status::OK;
  }
}

grpc::Status CacheService::Stats(grpc::ServerContext* context, const v1::StatsRequest* request,
                                 v1::StatsResponse* response) {
  ToProto(store_->stats(), response);
  if (engine_ != nullptr) ToProto(engine_->stats(), response);
  return grpc::Status::OK;
}

grpc::Status CacheService::Demote(grpc::ServerContext* context, const v1::DemoteRequest* request,
                                  v1::DemoteResponse* response) {
  const absl::Time deadline =
      std::min(absl::FromChrono(context->deadline()), absl::Now() + kMaxStreamTime);
  const absl::StatusOr<int64_t> demoted = store_->Demote(deadline);
  if (!demoted.ok()) return ToGrpc(demoted.status());
  response->set_demoted_blocks(*demoted);
  return grpc::Status::OK;
}

absl::StatusOr<cachestore::InvalidateReport> CacheService::Invalidate(
    const v1::InvalidateRequest& request, absl::Time deadline) {
  switch (request.scope_case()) {
    case v1::InvalidateRequest::kAll:
      if (!request.all()) break;
      return store_->Invalidate(cachestore::AllBlocks{}, deadline);
    case v1::InvalidateRequest::kTenant:
      return store_->Invalidate(cachestore::BlocksOfTenant{request.tenant()}, deadline);
    case v1::InvalidateRequest::kNamespaceId: {
      ASSIGN_OR_RETURN(const NamespaceHandle ns, Find(request.namespace_id()));
      return store_->Invalidate(cachestore::BlocksOfNamespace{ns}, deadline);
    }
    case v1::InvalidateRequest::kPrefix: {
      const v1::BlockPrefix& prefix = request.prefix();
      ASSIGN_OR_RETURN(const NamespaceHandle ns, Find(prefix.namespace_id()));
      ASSIGN_OR_RETURN(const PromptContent prompt,
                       ContentOf(ns, prefix.token_ids(), prefix.external_keys()));
      if (prompt.num_blocks() == 0) {
        return absl::InvalidArgumentError("prefix holds no full block");
      }
      const size_t num_words = static_cast<size_t>(prompt.num_blocks() * ns.block_words);
      const cachestore::BlockContent blocks(ns.key_source, prompt.view().words().first(num_words));
      return store_->Invalidate(cachestore::BlocksBelow{ns, blocks}, deadline);
    }
    case v1::InvalidateRequest::SCOPE_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("scope is missing: all = true, tenant, namespace_id or prefix");
}

grpc::Status CacheService::Invalidate(grpc::ServerContext* context,
                                      const v1::InvalidateRequest* request,
                                      v1::InvalidateResponse* response) {
  const absl::Time deadline =
      std::min(absl::FromChrono(context->deadline()), absl::Now() + kMaxStreamTime);
  const auto report = Invalidate(*request, deadline);
  if (!report.ok()) return ToGrpc(report.status());
  response->set_gpu_blocks(report->gpu_blocks);
  response->set_ram_blocks(report->ram_blocks);
  response->set_disk_blocks(report->disk_blocks);
  response->set_pinned_blocks(report->pinned_blocks);
  return grpc::Status::OK;
}

}  // namespace reprise::api
