// CacheService: lookup and put for other engines, on gRPC's synchronous API.
//
// Synchronous, because the store's calls block (Get waits for disk, Put for room, Demote for both):
// a callback service would need a thread pool of its own to wait in. gRPC's pool does it, bounded
// by kMaxCacheCalls; one more call is answered RESOURCE_EXHAUSTED.
//
// Owns the table of namespaces that clients have opened. Thread-safe.
#pragma once

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "api/auth/principal.h"
#include "api/namespace_table.h"
#include "cachestore/store/tiered_store.h"
#include "engine/engine.h"
#include "reprise/v1/cache.grpc.pb.h"

namespace reprise::api {

class CacheService final : public v1::Cache::Service {
 public:
  // `engine` is nullptr when no model is served. Both must outlive the service.
  CacheService(cachestore::TieredStore* store, const engine::Engine* engine)
      : store_(store), engine_(engine), namespaces_(store) {}

  grpc::Status OpenNamespace(grpc::ServerContext* context, const v1::OpenNamespaceRequest* request,
                             v1::OpenNamespaceResponse* response) override;
  grpc::Status Match(grpc::ServerContext* context, const v1::MatchRequest* request,
                     v1::MatchResponse* response) override;
  grpc::Status Put(grpc::ServerContext* context, grpc::ServerReader<v1::PutRequest>* reader,
                   v1::PutResponse* response) override;
  grpc::Status Get(grpc::ServerContext* context, const v1::GetRequest* request,
                   grpc::ServerWriter<v1::GetResponse>* writer) override;
  grpc::Status Stats(grpc::ServerContext* context, const v1::StatsRequest* request,
                     v1::StatsResponse* response) override;
  grpc::Status Demote(grpc::ServerContext* context, const v1::DemoteRequest* request,
                      v1::DemoteResponse* response) override;
  grpc::Status Invalidate(grpc::ServerContext* context, const v1::InvalidateRequest* request,
                          v1::InvalidateResponse* response) override;

 private:
  absl::StatusOr<v1::OpenNamespaceResponse> Open(const Principal& principal,
                                                 const v1::OpenNamespaceRequest& request);
  absl::StatusOr<cachestore::InvalidateReport> Invalidate(const Principal& principal,
                                                          const v1::InvalidateRequest& request,
                                                          absl::Time deadline);
  cachestore::TieredStore* const store_;
  const engine::Engine* const engine_;
  NamespaceTable namespaces_;
};

}  // namespace reprise::api
