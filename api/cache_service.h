// CacheService: lookup and put for other engines, on gRPC's synchronous API.
//
// Synchronous, because the store's calls block (Get waits for disk, Put for room, Demote for both):
// a callback service would need a thread pool of its own to wait in. gRPC's pool does it, bounded
// by kMaxCacheCalls; one more call is answered RESOURCE_EXHAUSTED.
//
// Owns the table of namespaces that clients have opened. Thread-safe.
#pragma once

#include <cstdint>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "cachestore/store/tiered_store.h"
#include "engine/engine.h"
#include "reprise/v1/reprise.grpc.pb.h"

namespace reprise::api {

class CacheService final : public v1::Cache::Service {
 public:
  // `engine` is nullptr when no model is served. Both must outlive the service.
  CacheService(cachestore::TieredStore* store, const engine::Engine* engine)
      : store_(store), engine_(engine) {}

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
  absl::StatusOr<v1::OpenNamespaceResponse> Open(const v1::OpenNamespaceRequest& request);
  // The namespace of `identity`, entered into the table. kResourceExhausted: a new one, and the
  // table is full.
  absl::StatusOr<cachestore::NamespaceHandle> HandleOf(
      const cachestore::NamespaceIdentity& identity);
  // kNotFound: no client opened it in this process.
  absl::StatusOr<cachestore::NamespaceHandle> Find(uint32_t namespace_id) const;
  absl::StatusOr<cachestore::InvalidateReport> Invalidate(const v1::InvalidateRequest& request,
                                                          absl::Time deadline);
  // Sends the cached blocks of `prompt` from `first_block` on, pinning kMaxPinnedBytes at a time.
  grpc::Status StreamBlocks(const grpc::ServerContext& context,
                            const cachestore::NamespaceHandle& ns,
                            const cachestore::BlockContent& prompt, int64_t first_block,
                            grpc::ServerWriter<v1::GetResponse>* writer);

  cachestore::TieredStore* const store_;
  const engine::Engine* const engine_;
  mutable absl::Mutex mu_;
  // By wire id: the store's id plus one, so that an id that was not set is never valid.
  absl::flat_hash_map<uint32_t, cachestore::NamespaceHandle> namespaces_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<std::string, uint32_t> ids_ ABSL_GUARDED_BY(mu_);  // by identity encoding
};

}  // namespace reprise::api
