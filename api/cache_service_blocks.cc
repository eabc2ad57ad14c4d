// CacheService's calls that move blocks: Put and Get over the wire, Grant and Seal in shared
// memory.
#include <grpcpp/impl/rpc_service_method.h>
#include <grpcpp/support/method_handler.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "api/auth/caller.h"
#include "api/block_sender.h"
#include "api/cache_service.h"
#include "api/hints_codec.h"
#include "api/limits.h"
#include "api/payload_wire.h"
#include "api/prompt_content.h"
#include "api/put_run.h"
#include "api/status_codec.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {

using cachestore::NamespaceHandle;

namespace {

// The number of a method of the service, as gRPC counts them.
int MethodIndex(const std::string& name) {
  return v1::GetRequest::descriptor()->file()->service(0)->FindMethodByName(name)->index();
}

// Ends a Get of which nothing can be sent.
class GetRefusal final : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  explicit GetRefusal(const absl::Status& status) { Finish(ToGrpc(status)); }
  void OnDone() override { delete this; }
};

}  // namespace

void CacheService::RegisterRawMethods() {
  MarkMethodStreamed(
      MethodIndex("Put"),
      new grpc::internal::ClientStreamingHandler<CacheService, grpc::ByteBuffer, v1::PutResponse>(
          [](CacheService* service, grpc::ServerContext* context,
             grpc::ServerReader<grpc::ByteBuffer>* reader,
             v1::PutResponse* response) { return service->PutBlocks(context, reader, response); },
          this));
  MarkMethodCallback(
      MethodIndex("Get"),
      new grpc::internal::CallbackServerStreamingHandler<v1::GetRequest, grpc::ByteBuffer>(
          [this](grpc::CallbackServerContext* context, const v1::GetRequest* request) {
            return GetBlocks(context, request);
          }));
}

grpc::Status CacheService::PutBlocks(grpc::ServerContext* context,
                                     grpc::ServerReader<grpc::ByteBuffer>* reader,
                                     v1::PutResponse* response) {
  StallLimit limit(context, StallLimit::LimitsOf(kMaxStreamTime, max_message_time_));
  grpc::ByteBuffer bytes;
  const auto read = [&] { return reader->Read(&bytes); };
  if (!limit.During(read)) {
    return {grpc::StatusCode::INVALID_ARGUMENT, "Put needs at least one message"};
  }
  v1::PutRequest message;
  absl::StatusOr<Payload> payload =
      SplitPayload(bytes, v1::PutRequest::kPayloadFieldNumber, &message);
  if (!payload.ok()) return ToGrpc(payload.status());
  const absl::StatusOr<NamespaceHandle> ns =
      namespaces_.FindToWrite(PrincipalOf(*context), message.namespace_id());
  if (!ns.ok()) return ToGrpc(ns.status());
  const auto prefix =
      PromptContent::Of(*ns, message.prefix_token_ids(), message.prefix_external_keys());
  if (!prefix.ok()) return ToGrpc(prefix.status());
  if (message.independent_keys() && prefix->num_blocks() > 0) {
    return {grpc::StatusCode::INVALID_ARGUMENT, "blocks with independent_keys have no prefix"};
  }
  const auto hints = HintsFrom(message.hints(), PrincipalOf(*context));
  if (!hints.ok()) return ToGrpc(hints.status());
  absl::StatusOr<PutRun> run = message.independent_keys()
                                   ? PutRun::BeginLone(store_, *ns)
                                   : PutRun::Begin(*context, store_, *ns, prefix->view());
  if (!run.ok()) return ToGrpc(run.status());
  while (true) {
    const int64_t blocks = 1 + int64_t{message.more_xxh3_size()};
    ChargeBlocks(*context, blocks, static_cast<int64_t>(payload->size()));
    const absl::Time deadline = absl::FromChrono(context->deadline());
    if (!run->Store(message, *payload, deadline) || !limit.During(read)) break;
    payload = SplitPayload(bytes, v1::PutRequest::kPayloadFieldNumber, &message);
    if (!payload.ok()) return ToGrpc(payload.status());
  }
  *response = run->Finish(*hints);
  return grpc::Status::OK;
}

absl::StatusOr<std::unique_ptr<BlockSource>> CacheService::SourceOf(const Principal& principal,
                                                                    const v1::GetRequest& request,
                                                                    absl::Time deadline) {
  const int64_t first = request.first_block();
  if (first < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("first_block is ", first, "; it must not be negative"));
  }
  if (!request.lease_id().empty()) {
    ASSIGN_OR_RETURN(std::shared_ptr<Session> session,
                     FindSession(principal, request.session_id()));
    return std::make_unique<LeaseSource>(std::move(session), request.lease_id(), first);
  }
  ASSIGN_OR_RETURN(const NamespaceRights rights,
                   namespaces_.FindRights(principal, request.namespace_id()));
  const NamespaceHandle& ns = rights.handle;
  ASSIGN_OR_RETURN(PromptContent prompt,
                   PromptContent::Of(ns, request.token_ids(), request.external_keys()));
  if (!request.independent_keys()) {
    // Without hints it may as well be a part of what was asked for otherwise.
    std::optional<cachestore::RequestHints> hints;
    if (request.has_hints()) {
      ASSIGN_OR_RETURN(hints, HintsFrom(request.hints(), principal, rights));
    }
    return std::make_unique<PrefixSource>(store_, ns, std::move(prompt), first, deadline,
                                          std::move(hints));
  }
  RETURN_IF_ERROR(NeedLoneKeys(ns));
  return std::make_unique<LoneBlockSource>(store_, ns, std::move(prompt), first, deadline);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* CacheService::GetBlocks(
    grpc::CallbackServerContext* context, const v1::GetRequest* request) {
  const absl::Time deadline =
      std::min(absl::FromChrono(context->deadline()), absl::Now() + kMaxStreamTime);
  absl::StatusOr<std::unique_ptr<BlockSource>> source =
      SourceOf(PrincipalOf(*context), *request, deadline);
  if (!source.ok()) return new GetRefusal(source.status());
  return BlockSender::Start(context, &send_budget_, *std::move(source),
                            request->max_message_bytes());
}

grpc::Status CacheService::Grant(grpc::ServerContext* context, const v1::GrantRequest* request,
                                 v1::GrantResponse* response) {
  const Principal principal = PrincipalOf(*context);
  const auto session = FindSession(principal, request->session_id());
  if (!session.ok()) return ToGrpc(session.status());
  const auto ns = namespaces_.FindToWrite(principal, request->namespace_id());
  if (!ns.ok()) return ToGrpc(ns.status());
  auto slots = (*session)->Grant(*ns, request->num_blocks());
  if (!slots.ok()) return ToGrpc(slots.status());
  for (v1::GrantedSlot& slot : *slots) *response->add_slots() = std::move(slot);
  return grpc::Status::OK;
}

absl::StatusOr<v1::PutResponse> CacheService::Seal(const grpc::ServerContext& context,
                                                   const v1::SealRequest& request) {
  const Principal principal = PrincipalOf(context);
  ASSIGN_OR_RETURN(const std::shared_ptr<Session> session,
                   FindSession(principal, request.session_id()));
  ASSIGN_OR_RETURN(const NamespaceHandle ns,
                   namespaces_.FindToWrite(principal, request.namespace_id()));
  ASSIGN_OR_RETURN(const cachestore::RequestHints hints, HintsFrom(request.hints(), principal));
  RETURN_IF_ERROR(CheckHoldings(request.blocks_size()));
  // All grants end with the call; what is not published of them is free again when it returns.
  std::vector<absl::StatusOr<cachestore::WritableBlock>> slots;
  for (const v1::SealBlock& block : request.blocks()) {
    slots.push_back(session->TakeGrant(ns, block.grant_id()));
  }
  ASSIGN_OR_RETURN(const PromptContent prefix, PromptContent::Of(ns, request.prefix_token_ids(),
                                                                 request.prefix_external_keys()));
  if (request.independent_keys() && prefix.num_blocks() > 0) {
    return absl::InvalidArgumentError("blocks with independent_keys have no prefix");
  }
  absl::StatusOr<PutRun> run = request.independent_keys()
                                   ? PutRun::BeginLone(store_, ns)
                                   : PutRun::Begin(context, store_, ns, prefix.view());
  RETURN_IF_ERROR(run.status());
  for (int i = 0; i < request.blocks_size(); ++i) {
    ChargeBlocks(context, 1, static_cast<int64_t>(ns.layout.BytesPerBlock()));
    if (!run->StoreGranted(request.blocks(i), std::move(slots[static_cast<size_t>(i)]))) break;
  }
  return run->Finish(hints);
}

grpc::Status CacheService::Seal(grpc::ServerContext* context, const v1::SealRequest* request,
                                v1::PutResponse* response) {
  absl::StatusOr<v1::PutResponse> sealed = Seal(*context, *request);
  if (!sealed.ok()) return ToGrpc(sealed.status());
  *response = *std::move(sealed);
  return grpc::Status::OK;
}

}  // namespace reprise::api
