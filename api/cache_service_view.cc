// CacheService's calls that show what is cached.
#include <optional>
#include <utility>

#include "absl/time/clock.h"
#include "api/answer.h"
#include "api/cache_service.h"
#include "api/prompt_content.h"
#include "api/status_codec.h"
#include "api/view/block_list.h"
#include "api/view/explanation.h"
#include "api/view/usage_report.h"
#include "api/view/what_if_report.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {

using cachestore::NamespaceHandle;

void CacheService::EndStreams(const absl::Status& status) {
  sessions_.EndAll(status);
  watches_.EndAll(status);
}

absl::StatusOr<std::optional<NamespaceHandle>> CacheService::FindAny(const Principal& principal,
                                                                     uint32_t namespace_id) const {
  if (namespace_id == 0) return std::nullopt;
  ASSIGN_OR_RETURN(const NamespaceHandle ns, namespaces_.Find(principal, namespace_id));
  return ns;
}

absl::StatusOr<v1::ExplainResponse> CacheService::Explain(const Principal& principal,
                                                          const v1::ExplainRequest& request) const {
  ASSIGN_OR_RETURN(const NamespaceHandle ns, namespaces_.Find(principal, request.namespace_id()));
  ASSIGN_OR_RETURN(const PromptContent prompt,
                   PromptContent::Of(ns, request.token_ids(), request.external_keys()));
  return ToProto(store_->Explain(ns, prompt.view()), ns.layout.block_tokens, absl::Now());
}

grpc::Status CacheService::Explain(grpc::ServerContext* context, const v1::ExplainRequest* request,
                                   v1::ExplainResponse* response) {
  return Answer(Explain(PrincipalOf(*context), *request), response);
}

absl::StatusOr<v1::ListResponse> CacheService::List(const Principal& principal,
                                                    const v1::ListRequest& request) {
  ASSIGN_OR_RETURN(const std::optional<NamespaceHandle> ns,
                   FindAny(principal, request.namespace_id()));
  return ListBlocks(*store_, names_, principal, ns, request);
}

grpc::Status CacheService::List(grpc::ServerContext* context, const v1::ListRequest* request,
                                v1::ListResponse* response) {
  return Answer(List(PrincipalOf(*context), *request), response);
}

absl::StatusOr<v1::UsageResponse> CacheService::Usage(const Principal& principal,
                                                      const v1::UsageRequest& request) const {
  if (request.all_tenants()) {
    RETURN_IF_ERROR(NeedAdmin(principal, "to see what all tenants take"));
  }
  return UsageOf(*store_, session_stats(), principal, request.all_tenants());
}

grpc::Status CacheService::Usage(grpc::ServerContext* context, const v1::UsageRequest* request,
                                 v1::UsageResponse* response) {
  return Answer(Usage(PrincipalOf(*context), *request), response);
}

absl::StatusOr<v1::WhatIfResponse> CacheService::WhatIf(const Principal& principal,
                                                        const v1::WhatIfRequest& request) const {
  if (request.all_tenants()) {
    RETURN_IF_ERROR(NeedAdmin(principal, "to see what all tenants look up"));
  }
  return WhatIfOf(store_->WhatIf(), principal, request.all_tenants(),
                  engine_ == nullptr ? 0 : engine_->stats().prefill_tokens_per_second);
}

grpc::Status CacheService::WhatIf(grpc::ServerContext* context, const v1::WhatIfRequest* request,
                                  v1::WhatIfResponse* response) {
  return Answer(WhatIf(PrincipalOf(*context), *request), response);
}

grpc::ServerWriteReactor<v1::CacheEvent>* CacheService::Watch(grpc::CallbackServerContext* context,
                                                              const v1::WatchRequest* request) {
  const Principal principal = PrincipalOf(*context);
  const auto ns = FindAny(principal, request->namespace_id());
  if (!ns.ok()) return WatchHub::Refuse(ns.status());
  return watches_.Start(context, principal, *ns, *request);
}

}  // namespace reprise::api
