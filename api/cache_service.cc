#include "api/cache_service.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "api/auth/caller.h"
#include "api/identity_codec.h"
#include "api/limits.h"
#include "api/prompt_content.h"
#include "api/stats_codec.h"
#include "api/status_codec.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {
namespace {

using cachestore::NamespaceHandle;

// What an invalidation is about, for the audit log.
std::string ScopeText(const v1::InvalidateRequest& request) {
  switch (request.scope_case()) {
    case v1::InvalidateRequest::kAll:
      return "all tenants";
    case v1::InvalidateRequest::kTenant:
      return absl::StrCat("tenant ", request.tenant());
    case v1::InvalidateRequest::kNamespaceId:
      return absl::StrCat("namespace_id ", request.namespace_id());
    case v1::InvalidateRequest::kPrefix:
      return absl::StrCat("a prefix in namespace_id ", request.prefix().namespace_id());
    case v1::InvalidateRequest::SCOPE_NOT_SET:
      break;
  }
  return "";
}

}  // namespace

absl::StatusOr<v1::OpenNamespaceResponse> CacheService::Open(
    const Principal& principal, const v1::OpenNamespaceRequest& request) {
  if (request.hash_scheme() != cachestore::kHashSchemeId) {
    const absl::string_view echo =
        absl::string_view(request.hash_scheme()).substr(0, kMaxEchoBytes);
    return absl::FailedPreconditionError(absl::StrCat(
        "hash_scheme is \"", echo, "\"; this server speaks \"", cachestore::kHashSchemeId, "\""));
  }
  if (!request.has_identity()) return absl::InvalidArgumentError("identity is missing");
  v1::NamespaceIdentity asked = request.identity();
  ASSIGN_OR_RETURN(*asked.mutable_tenant(),
                   TenantToOpen(principal, asked.tenant(), request.shared()));
  ASSIGN_OR_RETURN(const cachestore::NamespaceIdentity identity, FromProto(asked));
  ASSIGN_OR_RETURN(const uint32_t id, namespaces_.Open(principal, identity));
  ASSIGN_OR_RETURN(const NamespaceHandle ns, namespaces_.Find(principal, id));
  v1::OpenNamespaceResponse response;
  response.set_namespace_id(id);
  response.set_hash_scheme(std::string(cachestore::kHashSchemeId));
  response.set_block_bytes(static_cast<int64_t>(ns.layout.BytesPerBlock()));
  response.set_max_message_bytes(kMaxSharedMessageBytes);
  return response;
}

grpc::Status CacheService::OpenNamespace(grpc::ServerContext* context,
                                         const v1::OpenNamespaceRequest* request,
                                         v1::OpenNamespaceResponse* response) {
  absl::StatusOr<v1::OpenNamespaceResponse> opened = Open(PrincipalOf(*context), *request);
  if (!opened.ok()) return ToGrpc(opened.status());
  *response = *std::move(opened);
  return grpc::Status::OK;
}

absl::StatusOr<v1::MatchResponse> CacheService::FindMatch(const Principal& principal,
                                                          const v1::MatchRequest& request) const {
  ASSIGN_OR_RETURN(const NamespaceHandle ns, namespaces_.Find(principal, request.namespace_id()));
  ASSIGN_OR_RETURN(const PromptContent prompt,
                   PromptContent::Of(ns, request.token_ids(), request.external_keys()));
  const cachestore::PrefixMatch match = store_->Match(ns, prompt.view(), prompt.num_blocks());
  v1::MatchResponse response;
  response.set_gpu_blocks(match.gpu_blocks);
  response.set_ram_blocks(match.ram_blocks);
  response.set_disk_blocks(match.disk_blocks);
  response.set_matched_tokens(match.total_blocks() * ns.layout.block_tokens);
  return response;
}

grpc::ServerUnaryReactor* CacheService::Match(grpc::CallbackServerContext* context,
                                              const v1::MatchRequest* request,
                                              v1::MatchResponse* response) {
  const auto match = [this, context, request] {
    absl::StatusOr<v1::MatchResponse> found = FindMatch(PrincipalOf(*context), *request);
    if (found.ok()) NoteHit(*context, found->matched_tokens());
    return found;
  };
  return long_calls_.Answer(context, *request, match, response);
}

grpc::Status CacheService::Stats(grpc::ServerContext* context, const v1::StatsRequest* request,
                                 v1::StatsResponse* response) {
  // They count what all tenants do: who sees them move learns what others ask for.
  const absl::Status allowed = NeedAdmin(PrincipalOf(*context), "to read the server's counters");
  if (!allowed.ok()) return ToGrpc(allowed);
  ToProto(store_->stats(), response);
  if (engine_ != nullptr) ToProto(engine_->stats(), response);
  ToProto(session_stats(), response);
  return grpc::Status::OK;
}

LeaseStats::Values CacheService::session_stats() const {
  LeaseStats::Values stats = sessions_.stats();
  stats.prefetches = prefetcher_.under_way();
  return stats;
}

grpc::Status CacheService::Demote(grpc::ServerContext* context, const v1::DemoteRequest* request,
                                  v1::DemoteResponse* response) {
  const absl::Status allowed = NeedAdmin(PrincipalOf(*context), "to demote all blocks");
  if (!allowed.ok()) return ToGrpc(allowed);
  const absl::Time deadline =
      std::min(absl::FromChrono(context->deadline()), absl::Now() + kMaxStreamTime);
  const absl::StatusOr<int64_t> demoted = store_->Demote(deadline);
  Audit(*context, "Demote", demoted.status());
  if (!demoted.ok()) return ToGrpc(demoted.status());
  response->set_demoted_blocks(*demoted);
  return grpc::Status::OK;
}

absl::StatusOr<cachestore::InvalidateReport> CacheService::Invalidate(
    const Principal& principal, const v1::InvalidateRequest& request, absl::Time deadline) {
  switch (request.scope_case()) {
    case v1::InvalidateRequest::kAll:
      if (!request.all()) break;
      RETURN_IF_ERROR(NeedAdmin(principal, "to invalidate the blocks of all tenants"));
      return store_->Invalidate(cachestore::AllBlocks{}, deadline);
    case v1::InvalidateRequest::kTenant: {
      std::string tenant = request.tenant();
      if (!principal.admin) {
        ASSIGN_OR_RETURN(tenant, TenantOf(principal, tenant));
      }
      return store_->Invalidate(cachestore::BlocksOfTenant{std::move(tenant)}, deadline);
    }
    case v1::InvalidateRequest::kNamespaceId: {
      ASSIGN_OR_RETURN(const NamespaceHandle ns,
                       namespaces_.FindToWrite(principal, request.namespace_id()));
      return store_->Invalidate(cachestore::BlocksOfNamespace{ns}, deadline);
    }
    case v1::InvalidateRequest::kPrefix: {
      const v1::BlockPrefix& prefix = request.prefix();
      ASSIGN_OR_RETURN(const NamespaceHandle ns,
                       namespaces_.FindToWrite(principal, prefix.namespace_id()));
      ASSIGN_OR_RETURN(const PromptContent prompt,
                       PromptContent::Of(ns, prefix.token_ids(), prefix.external_keys()));
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
  const auto report = Invalidate(PrincipalOf(*context), *request, deadline);
  Audit(*context, "Invalidate", report.status(), ScopeText(*request));
  if (!report.ok()) return ToGrpc(report.status());
  response->set_gpu_blocks(report->gpu_blocks);
  response->set_ram_blocks(report->ram_blocks);
  response->set_disk_blocks(report->disk_blocks);
  response->set_pinned_blocks(report->pinned_blocks);
  return grpc::Status::OK;
}

}  // namespace reprise::api
