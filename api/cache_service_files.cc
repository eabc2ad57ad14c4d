// CacheService's calls that move blocks as files.
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "api/auth/caller.h"
#include "api/cache_service.h"
#include "api/file/block_exporter.h"
#include "api/file/block_importer.h"
#include "api/file/import_target.h"
#include "api/limits.h"
#include "api/prompt_content.h"
#include "api/status_codec.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {

using cachestore::NamespaceHandle;

absl::StatusOr<int64_t> CacheService::Export(const grpc::ServerContext& context,
                                             const Principal& principal,
                                             const v1::ExportRequest& request, StallLimit* limit,
                                             grpc::ServerWriter<v1::FileChunk>* writer) {
  if (request.scope_case() == v1::ExportRequest::SCOPE_NOT_SET) {
    return absl::InvalidArgumentError("scope is missing: namespace_id or prefix");
  }
  const v1::BlockPrefix& prefix = request.prefix();
  const uint32_t id = request.has_prefix() ? prefix.namespace_id() : request.namespace_id();
  ASSIGN_OR_RETURN(const NamespaceHandle ns, namespaces_.Find(principal, id));
  ASSIGN_OR_RETURN(const std::string identity, EncodingOf(*store_, ns));
  const auto send = [limit, writer](std::string piece) {
    v1::FileChunk chunk;
    chunk.set_data(std::move(piece));
    return limit->During([&] { return writer->Write(chunk); });
  };
  BlockExporter exporter(context, store_, ns, identity, send);
  if (!request.has_prefix()) return exporter.ExportNamespace();
  ASSIGN_OR_RETURN(const PromptContent prompt,
                   PromptContent::Of(ns, prefix.token_ids(), prefix.external_keys()));
  return exporter.ExportPrefix(prompt);
}

grpc::Status CacheService::Export(grpc::ServerContext* context, const v1::ExportRequest* request,
                                  grpc::ServerWriter<v1::FileChunk>* writer) {
  StallLimit limit(context, StallLimit::LimitsOf(kMaxStreamTime, max_message_time_));
  const absl::StatusOr<int64_t> blocks =
      Export(*context, PrincipalOf(*context), *request, &limit, writer);
  Audit(*context, "Export", blocks.status(), blocks.ok() ? absl::StrCat(*blocks, " blocks") : "");
  return ToGrpc(blocks.status());
}

absl::StatusOr<v1::ImportResponse> CacheService::Import(const grpc::ServerContext& context,
                                                        const Principal& principal,
                                                        StallLimit* limit,
                                                        grpc::ServerReader<v1::FileChunk>* reader) {
  const auto pieces = [limit, reader](std::string* piece) {
    v1::FileChunk chunk;
    if (!limit->During([&] { return reader->Read(&chunk); })) return false;
    *piece = std::move(*chunk.mutable_data());
    return true;
  };
  FileSource source(pieces);
  BlockImporter importer(context, store_, &source);
  ASSIGN_OR_RETURN(cachestore::NamespaceIdentity identity, importer.ReadHeader());
  if (engine_ != nullptr) {
    RETURN_IF_ERROR(
        NeedKnownIdentity(*store_, engine_->IdentityOf(identity.tenant, identity.salt), identity));
  }
  identity.tenant = TenantToImport(principal, identity.tenant);
  ASSIGN_OR_RETURN(const uint32_t id, namespaces_.Open(principal, identity));
  ASSIGN_OR_RETURN(const NamespaceHandle ns, namespaces_.FindToWrite(principal, id));
  ASSIGN_OR_RETURN(v1::ImportResponse response, importer.ReadBlocks(ns));
  response.set_namespace_id(id);
  return response;
}

grpc::Status CacheService::Import(grpc::ServerContext* context,
                                  grpc::ServerReader<v1::FileChunk>* reader,
                                  v1::ImportResponse* response) {
  StallLimit limit(context, StallLimit::LimitsOf(kMaxStreamTime, max_message_time_));
  absl::StatusOr<v1::ImportResponse> imported =
      Import(*context, PrincipalOf(*context), &limit, reader);
  Audit(*context, "Import", imported.status(),
        imported.ok() ? absl::StrCat(imported->stored_blocks(), " blocks stored, ",
                                     imported->rejected_blocks(), " rejected")
                      : "");
  if (!imported.ok()) return ToGrpc(imported.status());
  *response = *std::move(imported);
  return grpc::Status::OK;
}

}  // namespace reprise::api
