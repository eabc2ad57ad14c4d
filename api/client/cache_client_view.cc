// CacheClient's calls that show what is cached, and those that move it as a file.
#include <utility>

#include "api/client/cache_client.h"
#include "api/client/prompt_fields.h"
#include "api/status_codec.h"

namespace reprise::api {

using cachestore::BlockContent;

absl::StatusOr<v1::ExplainResponse> CacheClient::Explain(uint32_t namespace_id,
                                                         const BlockContent& prompt,
                                                         absl::Duration timeout) {
  auto request = PromptRequest<v1::ExplainRequest>(namespace_id, prompt);
  return CallIn(&v1::Cache::Stub::Explain, std::move(request), timeout);
}

absl::StatusOr<v1::ListResponse> CacheClient::List(const v1::ListRequest& request,
                                                   absl::Duration timeout) {
  return CallIn(&v1::Cache::Stub::List, request, timeout);
}

absl::StatusOr<v1::UsageResponse> CacheClient::Usage(bool all_tenants, absl::Duration timeout) {
  v1::UsageRequest request;
  request.set_all_tenants(all_tenants);
  return CallUnary(*stub_, &v1::Cache::Stub::Usage, request, timeout);
}

absl::StatusOr<v1::WhatIfResponse> CacheClient::WhatIf(bool all_tenants, absl::Duration timeout) {
  v1::WhatIfRequest request;
  request.set_all_tenants(all_tenants);
  return CallUnary(*stub_, &v1::Cache::Stub::WhatIf, request, timeout);
}

absl::Status CacheClient::Watch(const v1::WatchRequest& request, absl::Duration timeout,
                                absl::FunctionRef<bool(const v1::CacheEvent&)> on_event) {
  v1::WatchRequest asked = request;
  return InNamespace(request.namespace_id(), timeout, [&](uint32_t id, absl::Duration left) {
    asked.set_namespace_id(id);
    grpc::ClientContext context;
    SetTimeout(left, &context);
    const auto reader = stub_->Watch(&context, asked);
    v1::CacheEvent event;
    while (reader->Read(&event)) {
      if (on_event(event)) continue;
      context.TryCancel();
      reader->Finish();
      return absl::OkStatus();
    }
    return FromGrpc(reader->Finish());
  });
}

absl::Status CacheClient::Export(const v1::ExportRequest& request, absl::Duration timeout,
                                 absl::FunctionRef<bool(absl::string_view)> on_bytes) {
  v1::ExportRequest asked = request;
  return InNamespace(ScopeNamespace(request), timeout, [&](uint32_t id, absl::Duration left) {
    SetScopeNamespace(id, &asked);
    grpc::ClientContext context;
    SetTimeout(left, &context);
    const auto reader = stub_->Export(&context, asked);
    v1::FileChunk chunk;
    while (reader->Read(&chunk)) {
      if (on_bytes(chunk.data())) continue;
      context.TryCancel();
      reader->Finish();
      return absl::CancelledError("whoever takes the file has ended the export");
    }
    return FromGrpc(reader->Finish());
  });
}

absl::StatusOr<v1::ImportResponse> CacheClient::Import(
    absl::Duration timeout, absl::FunctionRef<std::string()> next_bytes) {
  grpc::ClientContext context;
  SetTimeout(timeout, &context);
  v1::ImportResponse response;
  const auto writer = stub_->Import(&context, &response);
  v1::FileChunk chunk;
  while (true) {
    chunk.set_data(next_bytes());
    if (chunk.data().empty() || !writer->Write(chunk)) break;  // Finish says why
  }
  writer->WritesDone();
  if (const grpc::Status status = writer->Finish(); !status.ok()) return FromGrpc(status);
  return response;
}

}  // namespace reprise::api
