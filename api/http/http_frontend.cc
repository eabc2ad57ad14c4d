#include "api/http/http_frontend.h"

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "api/auth/audit_log.h"
#include "api/auth/peer_of.h"
#include "api/http/browser_policy.h"
#include "api/http/http_message.h"
#include "api/http/http_server.h"
#include "api/http/id_headers.h"
#include "api/http/logged_reply.h"
#include "api/http/metrics.h"
#include "api/http/openai_error.h"
#include "api/http/openai_service.h"
#include "api/limits.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {
namespace {

// What each tenant with a quota takes.
std::vector<TenantBytes> TenantsWithQuota(const cachestore::TieredStore& store) {
  std::map<std::string, TenantBytes> tenants;
  for (const auto& [tenant, quota] : store.Quotas()) {
    tenants[tenant] = {.tenant = tenant, .quota = quota, .used = {}};
  }
  if (tenants.empty()) return {};
  for (const cachestore::NamespaceUsage& usage : store.Usage()) {
    const auto tenant = tenants.find(usage.name.tenant);
    if (tenant == tenants.end()) continue;
    const auto bytes = [&](cachestore::CacheTier tier) {
      return usage.tiers[static_cast<size_t>(tier)].bytes;
    };
    tenant->second.used.ram_bytes += bytes(cachestore::CacheTier::kRam);
    tenant->second.used.disk_bytes += bytes(cachestore::CacheTier::kDisk);
  }
  std::vector<TenantBytes> all;
  for (auto& [name, tenant] : tenants) all.push_back(std::move(tenant));
  return all;
}

constexpr size_t kMaxMethodBytes = 16;
constexpr absl::string_view kModelPrefix = "/v1/models/";

struct Path {
  absl::string_view path;
  absl::string_view method;
};
constexpr Path kPaths[] = {
    {"/healthz", "GET"},         {"/readyz", "GET"},    {"/metrics", "GET"},
    {"/v1/models", "GET"},       {kModelPrefix, "GET"}, {"/v1/chat/completions", "POST"},
    {"/v1/completions", "POST"},
};

// The entry of kPaths that `path` is, or for one model's path is below; empty: none.
Path KnownPath(absl::string_view path) {
  for (const Path& known : kPaths) {
    const bool below = known.path == kModelPrefix && path.size() > kModelPrefix.size() &&
                       absl::StartsWith(path, kModelPrefix);
    if (below || path == known.path) return known;
  }
  return {};
}

// `text` with %XX replaced by the byte it stands for.
std::string PercentDecoded(absl::string_view text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    int byte = 0;
    if (text[i] == '%' && i + 2 < text.size() &&
        absl::SimpleHexAtoi(text.substr(i + 1, 2), &byte)) {
      decoded.push_back(static_cast<char>(byte));
      i += 2;
    } else {
      decoded.push_back(text[i]);
    }
  }
  return decoded;
}

const TlsIdentity* TlsOf(const ListenAddress& listen, const Guard* guard) {
  return guard == nullptr || !listen.unix_path.empty() ? nullptr : guard->tls();
}

// Where a credential is asked for, or TLS tells who is meant, a name that stands for another
// address gains nothing; and who lets other machines in does not say by what names.
bool ChecksHost(const ListenAddress& listen, const Guard* guard,
                const std::vector<std::string>& hosts) {
  if (!listen.unix_path.empty()) return false;
  const bool asks = guard != nullptr && (guard->has_credentials() || guard->tls() != nullptr);
  return !hosts.empty() || (listen.IsLocal() && !asks);
}

// The beginning of the request's line in the log. A path may be anything: of those that are not
// known it says nothing.
CallRecord RecordOf(const HttpRequest& request, const RequestIds& ids) {
  const absl::string_view known = KnownPath(request.path).path;
  return {.rpc = absl::StrCat(request.method.substr(0, kMaxMethodBytes), " ",
                              known.empty() ? "(unknown)" : known),
          .ids = ids,
          .from = request.peer};
}

}  // namespace

class HttpFrontend::Impl final : public HttpHandler {
 public:
  Impl(const ListenAddress& listen, Guard* guard, CallLog* log,
       const std::vector<std::string>& hosts)
      : guard_(guard),
        log_(log),
        is_unix_(!listen.unix_path.empty()),
        tls_(TlsOf(listen, guard)),
        is_private_(listen.IsLocal() || tls_ != nullptr),
        browsers_(hosts, ChecksHost(listen, guard, hosts)) {}

  absl::Status Start(const ListenAddress& listen) {
    ASSIGN_OR_RETURN(server_, HttpServer::Start(listen, this, HttpLimits(), tls_));
    absl::MutexLock lock(&mu_);
    num_connections_ = [this] { return server_->num_connections(); };
    return absl::OkStatus();
  }
  HttpServer& server() { return *server_; }

  void SetReady(const ServedParts& parts, const Server& server) ABSL_LOCKS_EXCLUDED(mu_);
  void Drain() ABSL_LOCKS_EXCLUDED(mu_);

  // HttpHandler
  std::optional<HttpResponse> AnswerAtOnce(const HttpRequest& request) override;
  void Handle(HttpRequest request, std::shared_ptr<HttpReply> reply) override;
  HttpResponse Refusal(int status, absl::string_view cause) override;

 private:
  enum class State { kStarting, kReady, kDraining };

  // Who calls, whose call is counted. Errors are those of Guard, and go to the audit log.
  absl::StatusOr<Principal> Admit(const HttpRequest& request, const RequestIds& ids) const;
  // What AnswerAtOnce answers.
  std::optional<HttpResponse> QuickAnswer(const HttpRequest& request) const;
  // Answers a request, which is logged by `reply`. Who calls is told to `caller`.
  void Answer(const HttpRequest& request, const RequestIds& ids, std::shared_ptr<HttpReply> reply,
              absl::FunctionRef<void(const Principal&)> caller);
  // kUnavailable, with what to wait for: no calls are taken now.
  absl::Status CheckReady() const ABSL_LOCKS_EXCLUDED(mu_);
  HttpResponse Probe(absl::string_view path) const;
  HttpResponse Metrics() const ABSL_LOCKS_EXCLUDED(mu_);
  // The answer to /v1/models or what is below it.
  HttpResponse Models(absl::string_view path) const;
  std::shared_ptr<const OpenAiService> service() const ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    return service_;
  }

  Guard* const guard_;
  CallLog* const log_;  // may be null
  const bool is_unix_;
  const TlsIdentity* const tls_;  // null: no TLS
  const bool is_private_;         // nobody on the way can read along
  const BrowserPolicy browsers_;
  mutable absl::Mutex mu_;
  State state_ ABSL_GUARDED_BY(mu_) = State::kStarting;
  // Null until ready; the engine, without a model, for ever.
  const cachestore::TieredStore* store_ ABSL_GUARDED_BY(mu_) = nullptr;
  const engine::Engine* engine_ ABSL_GUARDED_BY(mu_) = nullptr;
  const Server* grpc_ ABSL_GUARDED_BY(mu_) = nullptr;
  std::shared_ptr<const OpenAiService> service_ ABSL_GUARDED_BY(mu_);  // null until ready
  // Set once the server is there, which may be asked before it has been returned.
  std::function<int64_t()> num_connections_ ABSL_GUARDED_BY(mu_);
  std::unique_ptr<HttpServer> server_;  // last: it calls the rest
};

void HttpFrontend::Impl::SetReady(const ServedParts& parts, const Server& server) {
  auto service = std::make_shared<const OpenAiService>(parts.store, parts.engine, parts.model_name);
  absl::MutexLock lock(&mu_);
  store_ = parts.store;
  engine_ = parts.engine;
  grpc_ = &server;
  service_ = std::move(service);
  if (state_ == State::kStarting) state_ = State::kReady;
}

void HttpFrontend::Impl::Drain() {
  {
    absl::MutexLock lock(&mu_);
    state_ = State::kDraining;
  }
  server_->Drain();
}

absl::Status HttpFrontend::Impl::CheckReady() const {
  absl::MutexLock lock(&mu_);
  switch (state_) {
    case State::kStarting:
      return absl::UnavailableError("the server is starting: it recovers its cache and loads");
    case State::kReady:
      return absl::OkStatus();
    case State::kDraining:
      break;
  }
  return absl::UnavailableError("the server is shutting down");
}

absl::StatusOr<Principal> HttpFrontend::Impl::Admit(const HttpRequest& request,
                                                    const RequestIds& ids) const {
  if (guard_ == nullptr) return LocalOperator();
  const Peer peer = {.address = request.peer,
                     .is_unix = is_unix_,
                     .is_private = is_private_,
                     .certificate_names = request.certificate_names};
  absl::StatusOr<Principal> principal =
      guard_->Authenticate(BearerToken(request.Header("authorization")), peer);
  const absl::Status status = principal.ok() ? guard_->TakeCall(*principal) : principal.status();
  if (status.ok()) return principal;
  AuditEvent event = {.what = "refused",
                      .from = absl::StrCat(peer.address, " ", request.Header("user-agent")),
                      .request_id = ids.request_id,
                      .outcome = status,
                      .detail = request.path};
  if (principal.ok()) {
    event.who = principal->name;
    event.tenant = principal->tenant;
  }
  guard_->audit().WriteRefusal(event);
  return status;
}

HttpResponse HttpFrontend::Impl::Probe(absl::string_view path) const {
  HttpResponse response = {.content_type = "text/plain; charset=utf-8", .body = "ok\n"};
  if (path == "/healthz") return response;
  if (const absl::Status ready = CheckReady(); !ready.ok()) {
    response.status = 503;
    response.body = absl::StrCat(ready.message(), "\n");
  }
  return response;
}

HttpResponse HttpFrontend::Impl::Metrics() const {
  MetricsInput input;
  if (log_ != nullptr) input.calls = log_->times();
  if (guard_ != nullptr && guard_->tls() != nullptr) {
    input.certificate_ends = guard_->tls()->ends();
  }
  const cachestore::TieredStore* store = nullptr;
  const engine::Engine* engine = nullptr;
  const Server* grpc = nullptr;
  {
    absl::MutexLock lock(&mu_);
    input.ready = state_ == State::kReady;
    store = store_;
    engine = engine_;
    grpc = grpc_;
    if (num_connections_) input.http_connections = num_connections_();
  }
  // Without the lock, which every request takes: to look at all tenants takes a while.
  if (store != nullptr) {
    input.store = store->stats();
    input.tenants = TenantsWithQuota(*store);
    input.what_if = store->WhatIf();
  }
  if (engine != nullptr) input.engine = engine->stats();
  if (grpc != nullptr) {
    input.sessions = grpc->session_stats();
    input.recordings = grpc->recording_totals();
  }
  return {.content_type = kMetricsContentType, .body = MetricsText(input)};
}

std::optional<HttpResponse> HttpFrontend::Impl::AnswerAtOnce(const HttpRequest& request) {
  std::optional<HttpResponse> response = QuickAnswer(request);
  if (!response.has_value()) return response;
  const RequestIds ids = IdsOf(request);
  Echo(ids, &*response);
  if (log_ == nullptr) return response;
  CallRecord record = RecordOf(request, ids);
  SetHttpStatus(response->status, &record);
  if (KnownPath(request.path).path == "/readyz") record.failed = false;
  log_->Write(record);
  return response;
}

std::optional<HttpResponse> HttpFrontend::Impl::QuickAnswer(const HttpRequest& request) const {
  const Path known = KnownPath(request.path);
  const bool is_probe = known.path == "/healthz" || known.path == "/readyz";
  // A prober goes by an address, and learns nothing that a web site may not know.
  if (std::optional<HttpResponse> refusal = browsers_.Refusal(request); refusal && !is_probe) {
    return refusal;
  }
  if (known.path.empty()) {
    return OpenAiErrorResponse(404, absl::NotFoundError(absl::StrCat(
                                        "there is no ", request.path.substr(0, kMaxEchoBytes))));
  }
  const bool is_get = request.method == "GET" || request.method == "HEAD";
  if (request.method != known.method && !(is_get && known.method == "GET")) {
    HttpResponse response = OpenAiErrorResponse(
        405, absl::InvalidArgumentError(absl::StrCat(known.path, " takes ", known.method)));
    response.headers.emplace_back("Allow", known.method);
    return response;
  }
  if (is_probe) return Probe(known.path);
  return std::nullopt;
}

void HttpFrontend::Impl::Handle(HttpRequest request, std::shared_ptr<HttpReply> reply) {
  const RequestIds ids = IdsOf(request);
  if (log_ == nullptr) {
    return Answer(request, ids, std::move(reply), [](const Principal&) {});
  }
  const auto logged = std::make_shared<LoggedReply>(log_, RecordOf(request, ids), request.received,
                                                    std::move(reply));
  Answer(request, ids, logged, [&](const Principal& principal) { logged->SetCaller(principal); });
}

void HttpFrontend::Impl::Answer(const HttpRequest& request, const RequestIds& ids,
                                std::shared_ptr<HttpReply> reply,
                                absl::FunctionRef<void(const Principal&)> caller) {
  const bool is_metrics = request.path == "/metrics";
  // Who sees the counters move learns what others ask for: they are an operator's, as those of
  // gRPC are, and there from the start.
  absl::Status status = is_metrics ? absl::OkStatus() : CheckReady();
  absl::StatusOr<Principal> principal;
  if (status.ok()) {
    principal = Admit(request, ids);
    status = principal.status();
    if (status.ok()) caller(*principal);
  }
  if (status.ok() && is_metrics) status = NeedAdmin(*principal, "to read the server's counters");
  HttpResponse response;
  if (!status.ok()) {
    response = OpenAiErrorResponse(status);
    if (response.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  } else if (is_metrics) {
    response = Metrics();
  } else if (request.method == "POST") {
    const auto endpoint =
        request.path == "/v1/completions" ? OpenAiEndpoint::kCompletions : OpenAiEndpoint::kChat;
    return service()->Complete(endpoint, request, *principal, ids, std::move(reply));
  } else {
    response = Models(request.path);
  }
  Echo(ids, &response);
  reply->Send(std::move(response));
}

HttpResponse HttpFrontend::Impl::Models(absl::string_view path) const {
  if (!absl::ConsumePrefix(&path, kModelPrefix)) return service()->ListModels();
  return service()->GetModel(PercentDecoded(path));
}

HttpResponse HttpFrontend::Impl::Refusal(int status, absl::string_view cause) {
  return OpenAiErrorResponse(status, status == 503   ? absl::UnavailableError(cause)
                                     : status >= 500 ? absl::InternalError(cause)
                                                     : absl::InvalidArgumentError(cause));
}

HttpFrontend::HttpFrontend(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpFrontend::~HttpFrontend() { Shutdown(absl::Now()); }

absl::StatusOr<std::unique_ptr<HttpFrontend>> HttpFrontend::Start(
    const ListenAddress& listen, Guard* guard, CallLog* log,
    const std::vector<std::string>& hosts) {
  auto impl = std::make_unique<Impl>(listen, guard, log, hosts);
  RETURN_IF_ERROR(impl->Start(listen));
  return std::unique_ptr<HttpFrontend>(new HttpFrontend(std::move(impl)));
}

const ListenAddress& HttpFrontend::address() const { return impl_->server().address(); }
void HttpFrontend::SetReady(const ServedParts& parts, const Server& server) {
  impl_->SetReady(parts, server);
}
void HttpFrontend::Drain() { impl_->Drain(); }

void HttpFrontend::Shutdown(absl::Time deadline) {
  impl_->Drain();
  impl_->server().Shutdown(deadline);
}

}  // namespace reprise::api
