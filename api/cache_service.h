// CacheService: lookup and put for other engines, on gRPC's synchronous API.
//
// Synchronous, where the store's calls block (Put waits for room, Demote for disk): a callback
// service would need a thread pool of its own to wait in. gRPC's pool does it, bounded by
// kMaxCacheCalls; one more call is answered RESOURCE_EXHAUSTED. Callbacks are OpenSession, Watch
// and Get, which last and wait, also for clients that read slowly (api/block_sender.h), and what
// engines ask before each request and never waits (CallsThatNeverWait): gRPC's pool would hand each
// of those from thread to thread once more, for half as long again; about a very long prompt they
// are answered by threads of their own (long_calls.h). The payloads of Put and Get are
// never in a message: both deal with raw bytes (api/payload_wire.h).
//
// Owns the namespaces that clients have opened, their sessions, and prefetches. Thread-safe.
#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>
#include <grpcpp/support/sync_stream.h>

#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "api/auth/principal.h"
#include "api/block_source.h"
#include "api/long_calls.h"
#include "api/namespace_table.h"
#include "api/send_budget.h"
#include "api/session/prefetcher.h"
#include "api/session/session_table.h"
#include "api/stall_limit.h"
#include "api/view/namespace_names.h"
#include "api/view/watch_hub.h"
#include "cachestore/store/tiered_store.h"
#include "engine/engine.h"
#include "reprise/v1/cache.grpc.pb.h"

namespace reprise::api {

// What sessions may hold of `store` (api/limits.h).
SessionLimits SessionLimitsOf(const cachestore::TieredStore& store);

// kInvalidArgument: a request names more leases or grants than a session can hold.
absl::Status CheckHoldings(int64_t named);

// The calls that never wait: they are answered by the thread that has read the request (answer.h).
using CallsThatNeverWait = v1::Cache::WithCallbackMethod_Match<
    v1::Cache::WithCallbackMethod_Acquire<v1::Cache::WithCallbackMethod_Renew<
        v1::Cache::WithCallbackMethod_Release<v1::Cache::Service>>>>;

class CacheService final : public v1::Cache::WithCallbackMethod_Watch<
                               v1::Cache::WithCallbackMethod_OpenSession<CallsThatNeverWait>> {
 public:
  // `engine` is nullptr when no model is served. Both must outlive the service. A Put, Import or
  // Export whose client takes more than `max_message_time` for a message ends.
  CacheService(cachestore::TieredStore* store, const engine::Engine* engine,
               const SessionLimits& limits, SharedArena arena, absl::Duration max_message_time);

  // Of sessions, leases and prefetches.
  LeaseStats::Values session_stats() const;
  SessionTable& sessions() { return sessions_; }
  // What Get calls hold of RAM.
  const SendBudget& send_budget() const { return send_budget_; }
  // Ends calls that would go on for as long as there is time.
  void EndStreams(const absl::Status& status);

  grpc::Status OpenNamespace(grpc::ServerContext* context, const v1::OpenNamespaceRequest* request,
                             v1::OpenNamespaceResponse* response) override;
  grpc::ServerUnaryReactor* Match(grpc::CallbackServerContext* context,
                                  const v1::MatchRequest* request,
                                  v1::MatchResponse* response) override;
  grpc::Status Exists(grpc::ServerContext* context, const v1::ExistsRequest* request,
                      v1::ExistsResponse* response) override;
  grpc::Status Touch(grpc::ServerContext* context, const v1::TouchRequest* request,
                     v1::TouchResponse* response) override;
  grpc::Status Explain(grpc::ServerContext* context, const v1::ExplainRequest* request,
                       v1::ExplainResponse* response) override;
  grpc::Status List(grpc::ServerContext* context, const v1::ListRequest* request,
                    v1::ListResponse* response) override;
  grpc::Status Usage(grpc::ServerContext* context, const v1::UsageRequest* request,
                     v1::UsageResponse* response) override;
  grpc::Status WhatIf(grpc::ServerContext* context, const v1::WhatIfRequest* request,
                      v1::WhatIfResponse* response) override;
  grpc::ServerWriteReactor<v1::CacheEvent>* Watch(grpc::CallbackServerContext* context,
                                                  const v1::WatchRequest* request) override;
  grpc::Status Prefetch(grpc::ServerContext* context, const v1::PrefetchRequest* request,
                        v1::PrefetchResponse* response) override;
  grpc::ServerWriteReactor<v1::SessionEvent>* OpenSession(
      grpc::CallbackServerContext* context, const v1::OpenSessionRequest* request) override;
  grpc::ServerUnaryReactor* Acquire(grpc::CallbackServerContext* context,
                                    const v1::AcquireRequest* request,
                                    v1::AcquireResponse* response) override;
  grpc::ServerUnaryReactor* Renew(grpc::CallbackServerContext* context,
                                  const v1::RenewRequest* request,
                                  v1::RenewResponse* response) override;
  grpc::ServerUnaryReactor* Release(grpc::CallbackServerContext* context,
                                    const v1::ReleaseRequest* request,
                                    v1::ReleaseResponse* response) override;
  grpc::Status Grant(grpc::ServerContext* context, const v1::GrantRequest* request,
                     v1::GrantResponse* response) override;
  grpc::Status Seal(grpc::ServerContext* context, const v1::SealRequest* request,
                    v1::PutResponse* response) override;
  grpc::Status Stats(grpc::ServerContext* context, const v1::StatsRequest* request,
                     v1::StatsResponse* response) override;
  grpc::Status Demote(grpc::ServerContext* context, const v1::DemoteRequest* request,
                      v1::DemoteResponse* response) override;
  grpc::Status Invalidate(grpc::ServerContext* context, const v1::InvalidateRequest* request,
                          v1::InvalidateResponse* response) override;
  grpc::Status Export(grpc::ServerContext* context, const v1::ExportRequest* request,
                      grpc::ServerWriter<v1::FileChunk>* writer) override;
  grpc::Status Import(grpc::ServerContext* context, grpc::ServerReader<v1::FileChunk>* reader,
                      v1::ImportResponse* response) override;

 private:
  // Makes PutBlocks and GetBlocks the handlers of Put and Get.
  void RegisterRawMethods();
  // Of PutRequests.
  grpc::Status PutBlocks(grpc::ServerContext* context, grpc::ServerReader<grpc::ByteBuffer>* reader,
                         v1::PutResponse* response);
  // Writes GetResponses.
  grpc::ServerWriteReactor<grpc::ByteBuffer>* GetBlocks(grpc::CallbackServerContext* context,
                                                        const v1::GetRequest* request);
  absl::StatusOr<v1::PutResponse> Seal(const grpc::ServerContext& context,
                                       const v1::SealRequest& request);
  absl::StatusOr<v1::OpenNamespaceResponse> Open(const Principal& principal,
                                                 const v1::OpenNamespaceRequest& request);
  absl::StatusOr<cachestore::InvalidateReport> Invalidate(const Principal& principal,
                                                          const v1::InvalidateRequest& request,
                                                          absl::Time deadline);
  // kNotFound: the principal has no such session.
  absl::StatusOr<std::shared_ptr<Session>> FindSession(const Principal& principal,
                                                       absl::string_view session_id) const;
  absl::StatusOr<v1::ExistsResponse> Exists(const Principal& principal,
                                            const v1::ExistsRequest& request) const;
  absl::StatusOr<v1::TouchResponse> Touch(const Principal& principal,
                                          const v1::TouchRequest& request);
  absl::StatusOr<v1::PrefetchResponse> Prefetch(const Principal& principal,
                                                const v1::PrefetchRequest& request);
  // The namespace of an id; 0: none. kNotFound: as NamespaceTable::Find.
  absl::StatusOr<std::optional<cachestore::NamespaceHandle>> FindAny(const Principal& principal,
                                                                     uint32_t namespace_id) const;
  absl::StatusOr<v1::ExplainResponse> Explain(const Principal& principal,
                                              const v1::ExplainRequest& request) const;
  absl::StatusOr<v1::ListResponse> List(const Principal& principal, const v1::ListRequest& request);
  absl::StatusOr<v1::UsageResponse> Usage(const Principal& principal,
                                          const v1::UsageRequest& request) const;
  absl::StatusOr<v1::WhatIfResponse> WhatIf(const Principal& principal,
                                            const v1::WhatIfRequest& request) const;
  // Returns how many blocks there were.
  absl::StatusOr<int64_t> Export(const grpc::ServerContext& context, const Principal& principal,
                                 const v1::ExportRequest& request, StallLimit* limit,
                                 grpc::ServerWriter<v1::FileChunk>* writer);
  absl::StatusOr<v1::ImportResponse> Import(const grpc::ServerContext& context,
                                            const Principal& principal, StallLimit* limit,
                                            grpc::ServerReader<v1::FileChunk>* reader);
  absl::StatusOr<v1::MatchResponse> FindMatch(const Principal& principal,
                                              const v1::MatchRequest& request) const;
  absl::StatusOr<v1::AcquireResponse> AcquireLease(const Principal& principal,
                                                   const v1::AcquireRequest& request);
  absl::StatusOr<v1::RenewResponse> RenewLeases(const Principal& principal,
                                                const v1::RenewRequest& request);
  absl::StatusOr<v1::ReleaseResponse> ReleaseHoldings(const Principal& principal,
                                                      const v1::ReleaseRequest& request);
  // Whose blocks Get sends. `request` must outlive the source.
  absl::StatusOr<std::unique_ptr<BlockSource>> SourceOf(const Principal& principal,
                                                        const v1::GetRequest& request,
                                                        absl::Time deadline);

  cachestore::TieredStore* const store_;
  const engine::Engine* const engine_;
  const absl::Duration max_message_time_;
  NamespaceTable namespaces_;
  SessionTable sessions_;
  Prefetcher prefetcher_;
  SendBudget send_budget_;
  NamespaceNames names_;
  WatchHub watches_;
  LongCalls long_calls_{kLongCallThreads, kMaxCacheCalls};  // last: they use the others
};

}  // namespace reprise::api
