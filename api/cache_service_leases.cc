// CacheService's calls about sessions and leases, and those that look or load ahead of them.
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "api/answer.h"
#include "api/auth/caller.h"
#include "api/cache_service.h"
#include "api/end_call.h"
#include "api/hints_codec.h"
#include "api/limits.h"
#include "api/prompt_content.h"
#include "api/session/session_stream.h"
#include "api/status_codec.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {

using cachestore::NamespaceHandle;
using cachestore::RequestEnd;
using cachestore::RequestHints;

namespace {

int64_t Share(int64_t bytes, double share) {
  return static_cast<int64_t>(static_cast<double>(bytes) * share);
}

// What Get calls may hold of RAM: half of a small one, but room for a block of any size.
int64_t SendLimitOf(const cachestore::TieredStore& store) {
  const int64_t half = store.stats().ram_capacity_bytes / 2;
  return std::max(kMaxPinnedBytes, std::min(kMaxSendBytes, half));
}

// Ends an OpenSession that is refused.
class Refusal final : public grpc::ServerWriteReactor<v1::SessionEvent> {
 public:
  explicit Refusal(const grpc::Status& status) { Finish(status); }
  void OnDone() override { delete this; }
};

using Ids = google::protobuf::RepeatedPtrField<std::string>;

std::vector<absl::string_view> Views(const Ids& ids) { return {ids.begin(), ids.end()}; }

SessionOwner OwnerOf(const Principal& principal) {
  return {.tenant = principal.tenant, .name = principal.name};
}

}  // namespace

SessionLimits SessionLimitsOf(const cachestore::TieredStore& store) {
  const int64_t ram_bytes = store.stats().ram_capacity_bytes;
  return {.sessions = kMaxSessions,
          .sessions_per_principal = kMaxSessionsPerPrincipal,
          .holdings_per_session = kMaxHoldingsPerSession,
          .bytes_per_session = Share(ram_bytes, kMaxSessionShare),
          .bytes_per_tenant = Share(ram_bytes, kMaxTenantShare),
          .bytes = Share(ram_bytes, kMaxLeasedShare),
          .unsent_events = kMaxUnsentEvents,
          .usual_ttl = kLeaseTtl,
          .max_ttl = kMaxLeaseTtl};
}

absl::Status CheckHoldings(int64_t named) {
  if (named <= kMaxHoldingsPerSession) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the request names ", named, " leases or grants; a session holds ",
                   kMaxHoldingsPerSession, " at most: send fewer at a time"));
}

CacheService::CacheService(cachestore::TieredStore* store, const engine::Engine* engine,
                           const SessionLimits& limits, SharedArena arena,
                           absl::Duration max_message_time)
    : store_(store),
      engine_(engine),
      max_message_time_(max_message_time),
      namespaces_(store),
      sessions_(store, limits, std::move(arena)),
      prefetcher_(store, sessions_.keeper(), kMaxPrefetches,
                  Share(store->stats().ram_capacity_bytes, kMaxPrefetchShare)),
      send_budget_(SendLimitOf(*store), kMaxGetCalls, kMaxTenantGetCalls),
      names_(store),
      watches_(store, &names_) {
  RegisterRawMethods();
}

absl::StatusOr<std::shared_ptr<Session>> CacheService::FindSession(
    const Principal& principal, absl::string_view session_id) const {
  return sessions_.Find(OwnerOf(principal), session_id);
}

absl::StatusOr<v1::ExistsResponse> CacheService::Exists(const Principal& principal,
                                                        const v1::ExistsRequest& request) const {
  ASSIGN_OR_RETURN(const NamespaceHandle ns, namespaces_.Find(principal, request.namespace_id()));
  ASSIGN_OR_RETURN(const PromptContent content,
                   PromptContent::Of(ns, request.token_ids(), request.external_keys()));
  v1::ExistsResponse response;
  if (!request.independent_keys()) {
    response.set_leading_blocks(
        store_->Match(ns, content.view(), content.num_blocks()).total_blocks());
    return response;
  }
  RETURN_IF_ERROR(NeedLoneKeys(ns));
  bool all = true;
  for (int64_t i = 0; i < content.num_blocks(); ++i) {
    const bool exists = store_->Match(ns, content.block(i), 1).total_blocks() == 1;
    all = all && exists;
    response.add_exists(exists);
    if (all) response.set_leading_blocks(i + 1);
  }
  return response;
}

grpc::Status CacheService::Exists(grpc::ServerContext* context, const v1::ExistsRequest* request,
                                  v1::ExistsResponse* response) {
  return Answer(Exists(PrincipalOf(*context), *request), response);
}

absl::StatusOr<v1::TouchResponse> CacheService::Touch(const Principal& principal,
                                                      const v1::TouchRequest& request) {
  ASSIGN_OR_RETURN(const NamespaceRights rights,
                   namespaces_.FindRights(principal, request.namespace_id()));
  const NamespaceHandle& ns = rights.handle;
  ASSIGN_OR_RETURN(const PromptContent prompt,
                   PromptContent::Of(ns, request.token_ids(), request.external_keys()));
  ASSIGN_OR_RETURN(const RequestHints hints, HintsFrom(request.hints(), principal, rights));
  v1::TouchResponse response;
  response.set_touched_blocks(store_->Touch(ns, prompt.view(), prompt.num_blocks(), hints));
  return response;
}

grpc::Status CacheService::Touch(grpc::ServerContext* context, const v1::TouchRequest* request,
                                 v1::TouchResponse* response) {
  return Answer(Touch(PrincipalOf(*context), *request), response);
}

absl::StatusOr<v1::PrefetchResponse> CacheService::Prefetch(const Principal& principal,
                                                            const v1::PrefetchRequest& request) {
  ASSIGN_OR_RETURN(const NamespaceRights rights,
                   namespaces_.FindRights(principal, request.namespace_id()));
  const NamespaceHandle& ns = rights.handle;
  ASSIGN_OR_RETURN(const PromptContent prompt,
                   PromptContent::Of(ns, request.token_ids(), request.external_keys()));
  ASSIGN_OR_RETURN(RequestHints hints, HintsFrom(request.hints(), principal, rights));
  hints.use = RequestHints::Use::kAhead;
  const double seconds = request.deadline_seconds();
  if (request.max_blocks() < 0 || !std::isfinite(seconds) || seconds < 0) {
    return absl::InvalidArgumentError(absl::StrCat("max_blocks is ", request.max_blocks(),
                                                   " and deadline_seconds ", seconds,
                                                   "; they must not be negative"));
  }
  const int64_t max_blocks =
      request.max_blocks() > 0 ? request.max_blocks() : std::numeric_limits<int64_t>::max();
  const absl::Duration time = seconds > 0 ? absl::Seconds(seconds) : kPrefetchTime;
  return prefetcher_.Start(ns, prompt.view(), std::min(max_blocks, prompt.num_blocks()),
                           absl::Now() + std::min(time, kMaxStreamTime), hints);
}

grpc::Status CacheService::Prefetch(grpc::ServerContext* context,
                                    const v1::PrefetchRequest* request,
                                    v1::PrefetchResponse* response) {
  return Answer(Prefetch(PrincipalOf(*context), *request), response);
}

grpc::ServerWriteReactor<v1::SessionEvent>* CacheService::OpenSession(
    grpc::CallbackServerContext* context, const v1::OpenSessionRequest* request) {
  const Principal principal = PrincipalOf(*context);
  if (request->shared_memory() && !principal.tenant.empty()) {
    // The arena holds the blocks of all tenants.
    return new Refusal({grpc::StatusCode::FAILED_PRECONDITION,
                        "shared memory is not for the credential of a tenant; open the session "
                        "without it"});
  }
  const auto end_call = [](grpc::ServerContextBase* call, const absl::Status& status) {
    EndCall(call, ToGrpc(status));
  };
  return SessionStream::Start(&sessions_, context, OwnerOf(principal), *request, end_call);
}

absl::StatusOr<v1::AcquireResponse> CacheService::AcquireLease(const Principal& principal,
                                                               const v1::AcquireRequest& request) {
  ASSIGN_OR_RETURN(const std::shared_ptr<Session> session,
                   FindSession(principal, request.session_id()));
  ASSIGN_OR_RETURN(const NamespaceRights rights,
                   namespaces_.FindRights(principal, request.namespace_id()));
  const NamespaceHandle& ns = rights.handle;
  ASSIGN_OR_RETURN(const PromptContent prompt,
                   PromptContent::Of(ns, request.token_ids(), request.external_keys()));
  ASSIGN_OR_RETURN(const RequestHints hints, HintsFrom(request.hints(), principal, rights));
  return session->Acquire(ns, prompt.view(), request, hints, /*only_reads=*/!rights.may_write);
}

grpc::ServerUnaryReactor* CacheService::Acquire(grpc::CallbackServerContext* context,
                                                const v1::AcquireRequest* request,
                                                v1::AcquireResponse* response) {
  const auto acquire = [this, context, request] {
    absl::StatusOr<v1::AcquireResponse> acquired = AcquireLease(PrincipalOf(*context), *request);
    if (acquired.ok()) NoteHit(*context, acquired->match().matched_tokens());
    return acquired;
  };
  return long_calls_.Answer(context, *request, acquire, response);
}

absl::StatusOr<v1::RenewResponse> CacheService::RenewLeases(const Principal& principal,
                                                            const v1::RenewRequest& request) {
  ASSIGN_OR_RETURN(const std::shared_ptr<Session> session,
                   FindSession(principal, request.session_id()));
  RETURN_IF_ERROR(CheckHoldings(request.lease_ids_size()));
  ASSIGN_OR_RETURN(std::vector<v1::LeaseState> states,
                   session->Renew(Views(request.lease_ids()), request.ttl_seconds()));
  v1::RenewResponse response;
  for (v1::LeaseState& state : states) *response.add_leases() = std::move(state);
  return response;
}

grpc::ServerUnaryReactor* CacheService::Renew(grpc::CallbackServerContext* context,
                                              const v1::RenewRequest* request,
                                              v1::RenewResponse* response) {
  return Answer(context, RenewLeases(PrincipalOf(*context), *request), response);
}

absl::StatusOr<v1::ReleaseResponse> CacheService::ReleaseHoldings(
    const Principal& principal, const v1::ReleaseRequest& request) {
  ASSIGN_OR_RETURN(const std::shared_ptr<Session> session,
                   FindSession(principal, request.session_id()));
  RETURN_IF_ERROR(CheckHoldings(request.lease_ids_size()));
  ASSIGN_OR_RETURN(const RequestHints hints, HintsFrom(request.hints(), principal));
  if (request.output_tokens() < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("output_tokens is ", request.output_tokens(), "; it must not be negative"));
  }
  const RequestEnd end = {.hints = hints, .output_tokens = request.output_tokens()};
  v1::ReleaseResponse response;
  response.set_released(
      session->Release(Views(request.lease_ids()), request.has_hints() ? &end : nullptr));
  return response;
}

grpc::ServerUnaryReactor* CacheService::Release(grpc::CallbackServerContext* context,
                                                const v1::ReleaseRequest* request,
                                                v1::ReleaseResponse* response) {
  return Answer(context, ReleaseHoldings(PrincipalOf(*context), *request), response);
}

}  // namespace reprise::api
