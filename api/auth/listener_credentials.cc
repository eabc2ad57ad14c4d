#include "api/auth/listener_credentials.h"

#include <grpc/grpc.h>
#include <grpc/slice.h>

#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/mutex.h"
#include "api/auth/peer_of.h"
#include "cachestore/base/check.h"

namespace reprise::api {
namespace {

absl::string_view ViewOf(const grpc_slice& slice) {
  return {reinterpret_cast<const char*>(GRPC_SLICE_START_PTR(slice)), GRPC_SLICE_LENGTH(slice)};
}

// The headers of a call that decide about it.
struct CallHeaders {
  absl::string_view path;
  absl::string_view token;
  absl::string_view user_agent;
  absl::string_view request_id;
  absl::string_view trace_parent;

  CallHeaders(const grpc_metadata* metadata, size_t count) {
    for (size_t i = 0; i < count; ++i) {
      const absl::string_view key = ViewOf(metadata[i].key);
      if (key == ":path") path = ViewOf(metadata[i].value);
      if (key == "authorization") token = BearerToken(ViewOf(metadata[i].value));
      if (key == "user-agent") user_agent = ViewOf(metadata[i].value);
      if (key == kRequestIdHeader) request_id = ViewOf(metadata[i].value);
      if (key == kTraceParentHeader) trace_parent = ViewOf(metadata[i].value);
    }
  }
};

// What gRPC's callbacks know. Lives as long as gRPC's credentials do, which is longer than the
// object that made them.
class Gate {
 public:
  Gate(const ListenAddress& address, Guard* guard, const RunningCalls* running, CallLog* log)
      : address_(address), guard_(guard), running_(running), log_(log) {}

  absl::Status Judge(const CallHeaders& call, const grpc_auth_context* connection) const {
    if (absl::StartsWith(call.path, kHealthPath)) return absl::OkStatus();
    if (absl::Status closed = running_->closed(); !closed.ok()) return closed;
    const absl::StatusOr<Principal> principal =
        guard_->Authenticate(call.token, PeerOf(address_, "", connection));
    const absl::Status status = principal.ok() ? guard_->TakeCall(*principal) : principal.status();
    if (status.ok()) return status;
    Tell(call, principal.ok() ? *principal : Principal(), status);
    return status;
  }

  // The certificates for a new connection, when they are not those of the one before.
  grpc_ssl_certificate_config_reload_status Certificates(
      grpc_ssl_server_certificate_config** config) {
    std::shared_ptr<const TlsMaterial> material = guard_->tls()->material();
    absl::MutexLock lock(&mu_);
    if (material == shown_) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    shown_ = std::move(material);
    const grpc_ssl_pem_key_cert_pair pair = {shown_->key.c_str(), shown_->certificate.c_str()};
    // gRPC wants an authority even where it asks clients for no certificate.
    const std::string& authority =
        shown_->client_ca.empty() ? shown_->certificate : shown_->client_ca;
    *config = grpc_ssl_server_certificate_config_create(authority.c_str(), &pair, 1);
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
  }

 private:
  // Writes that the call was refused to both logs.
  void Tell(const CallHeaders& call, const Principal& principal, const absl::Status& status) const {
    const RequestIds ids = MakeRequestIds(call.request_id, call.trace_parent);
    const std::string from = absl::StrCat(address_.ToString(), " ", call.user_agent);
    guard_->audit().WriteRefusal({.what = "refused",
                                  .who = principal.name,
                                  .tenant = principal.tenant,
                                  .from = from,
                                  .request_id = ids.request_id,
                                  .outcome = status,
                                  .detail = std::string(call.path)});
    if (log_ == nullptr) return;
    CallRecord record = {.rpc = std::string(absl::StripPrefix(call.path, "/")),
                         .ids = ids,
                         .who = principal.name,
                         .tenant = principal.tenant,
                         .from = from};
    record.SetOutcome(status);
    log_->Write(record);
  }

  const ListenAddress address_;
  Guard* const guard_;
  const RunningCalls* const running_;
  CallLog* const log_;
  absl::Mutex mu_;
  std::shared_ptr<const TlsMaterial> shown_ ABSL_GUARDED_BY(mu_);
};

void Process(void* gate, grpc_auth_context* connection, const grpc_metadata* metadata, size_t count,
             grpc_process_auth_metadata_done_cb done, void* user_data) {
  const absl::Status status =
      static_cast<const Gate*>(gate)->Judge(CallHeaders(metadata, count), connection);
  done(user_data, nullptr, 0, nullptr, 0, static_cast<grpc_status_code>(status.code()),
       status.ok() ? nullptr : std::string(status.message()).c_str());
}

grpc_server_credentials* MakeTls(Gate* gate, bool asks_clients) {
  const auto fetch = [](void* user_data, grpc_ssl_server_certificate_config** config) {
    return static_cast<Gate*>(user_data)->Certificates(config);
  };
  return grpc_ssl_server_credentials_create_with_options(
      grpc_ssl_server_credentials_create_options_using_config_fetcher(
          asks_clients ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                       : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE,
          fetch, gate));
}

class ListenerCredentials final : public grpc::ServerCredentials {
 public:
  ListenerCredentials(const ListenAddress& address, Guard* guard, const RunningCalls* running,
                      CallLog* log) {
    Gate* gate = new Gate(address, guard, running, log);
    const TlsIdentity* tls = address.unix_path.empty() ? guard->tls() : nullptr;
    credentials_ = tls == nullptr ? grpc_insecure_server_credentials_create()
                                  : MakeTls(gate, tls->asks_clients());
    grpc_server_credentials_set_auth_metadata_processor(
        credentials_, {.process = Process,
                       .destroy = [](void* owned) { delete static_cast<Gate*>(owned); },
                       .state = gate});
  }
  ~ListenerCredentials() override { grpc_server_credentials_release(credentials_); }

  void SetAuthMetadataProcessor(const std::shared_ptr<grpc::AuthMetadataProcessor>&) override {
    CHECK(false);  // the gate is the one processor
  }

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    return grpc_server_add_http2_port(server, address.c_str(), credentials_);
  }

  grpc_server_credentials* credentials_;
};

}  // namespace

std::shared_ptr<grpc::ServerCredentials> MakeListenerCredentials(const ListenAddress& address,
                                                                 Guard* guard,
                                                                 const RunningCalls* running,
                                                                 CallLog* log) {
  return std::make_shared<ListenerCredentials>(address, guard, running, log);
}

}  // namespace reprise::api
