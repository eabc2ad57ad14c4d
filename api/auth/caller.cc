#include "api/auth/caller.h"

#include <grpc/grpc_security.h>

#include <map>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "api/auth/caller_table.h"
#include "api/auth/peer_of.h"
#include "api/end_call.h"
#include "api/stall_limit.h"
#include "api/status_codec.h"

namespace reprise::api {
namespace {

using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::InterceptorBatchMethods;

// Lives as long as its call.
class CallerInterceptor final : public grpc::experimental::Interceptor {
 public:
  // `listener`, `running` and `share` must outlive the call.
  CallerInterceptor(const ListenAddress& listener, Guard* guard, RunningCalls* running,
                    absl::Duration max_silence, CallShare* share,
                    grpc::experimental::ServerRpcInfo* info)
      : listener_(listener),
        running_(running),
        max_silence_(max_silence),
        method_(info->method()),
        context_(info->server_context()) {
    caller_.guard = guard;
    caller_.share = share;
    running_->Begin();
  }
  ~CallerInterceptor() override {
    CallerTable::Get().Remove(context_, &caller_);
    EndShare();
    running_->End();
  }

  void Intercept(InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_INITIAL_METADATA)) {
      Introduce(methods->GetRecvInitialMetadata());
    }
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      BeginAnswer();
    }
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_CLOSE)) EndAnswer();
    methods->Proceed();
  }

 private:
  using Metadata = std::multimap<grpc::string_ref, grpc::string_ref>;

  static absl::string_view ValueOf(const Metadata& metadata, absl::string_view name) {
    const auto found = metadata.find(grpc::string_ref(name.data(), name.size()));
    return found == metadata.end() ? absl::string_view()
                                   : absl::string_view(found->second.data(), found->second.size());
  }

  void Introduce(Metadata* metadata) {
    caller_.ids = MakeRequestIds(ValueOf(*metadata, kRequestIdHeader),
                                 ValueOf(*metadata, kTraceParentHeader));
    context_->AddTrailingMetadata(std::string(kRequestIdHeader), caller_.ids.request_id);
    grpc_auth_context* connection = grpc_call_auth_context(context_->c_call());
    absl::StatusOr<Principal> principal =
        caller_.guard->Authenticate(BearerToken(ValueOf(*metadata, "authorization")),
                                    PeerOf(listener_, context_->peer(), connection));
    grpc_auth_context_release(connection);
    caller_.author = principal.value_or(Nobody());
    {
      absl::MutexLock lock(&caller_.mu);
      caller_.call = context_->c_call();
    }
    CallerTable::Get().Add(context_, &caller_);
    // Not OK: the credentials were changed since the call was let in.
    const absl::Status allowed =
        principal.ok() ? BeginShare(principal->tenant) : principal.status();
    if (!allowed.ok()) {
      TellOfRefusal(allowed);
      EndCall(context_, ToGrpc(allowed));
      principal = Nobody();
    }
    caller_.principal = *std::move(principal);
    // No handler has a use for the secret, and what it does not see it cannot log.
    metadata->erase("authorization");
  }

  // The log of calls hears of it as of any other.
  void TellOfRefusal(const absl::Status& status) {
    caller_.guard->audit().WriteRefusal({.what = "refused",
                                         .who = caller_.author.name,
                                         .tenant = caller_.author.tenant,
                                         .from = context_->peer(),
                                         .request_id = caller_.ids.request_id,
                                         .outcome = status,
                                         .detail = method_});
  }

  // Callbacks hold no thread.
  bool HoldsThread() const { return dynamic_cast<grpc::ServerContext*>(context_) != nullptr; }

  absl::Status BeginShare(const std::string& tenant) {
    if (!HoldsThread()) return absl::OkStatus();
    const absl::Status status = caller_.share->Begin(tenant);
    if (status.ok()) caller_.shared_as = tenant;
    return status;
  }
  // The thread stays until the answer is on its way, for which the client has to make room. A
  // callback that was counted (CountInShare) holds none any more.
  void BeginAnswer() {
    if (!HoldsThread()) return EndShare();
    if (caller_.shared_as.has_value() && !std::exchange(answered_, true)) {
      caller_.share->Answer(*caller_.shared_as);
    }
    if (closed_) return;
    answer_limit_.emplace(context_, StallLimit::LimitsOf(absl::InfiniteDuration(), max_silence_));
    answer_limit_->BeginWait();
  }
  // The call is over for gRPC, which may let go of it from now on.
  void EndAnswer() {
    closed_ = true;
    answer_limit_.reset();
    absl::MutexLock lock(&caller_.mu);
    caller_.call = nullptr;
  }
  void EndShare() {
    if (!caller_.shared_as.has_value()) return;
    if (!answered_) caller_.share->Answer(*caller_.shared_as);
    caller_.share->End(*caller_.shared_as);
    caller_.shared_as.reset();
  }

  const ListenAddress& listener_;
  RunningCalls* const running_;
  const absl::Duration max_silence_;
  const std::string method_;
  grpc::ServerContextBase* const context_;
  Caller caller_;
  bool answered_ = false;  // counted as one that is
  bool closed_ = false;
  std::optional<StallLimit> answer_limit_;
};

}  // namespace

grpc::experimental::Interceptor* CallerInterceptorFactory::CreateServerInterceptor(
    grpc::experimental::ServerRpcInfo* info) {
  if (absl::StartsWith(info->method(), kHealthPath)) return nullptr;
  return new CallerInterceptor(listener_, guard_, running_, max_silence_, &share_, info);
}

Principal PrincipalOf(const grpc::ServerContextBase& context) {
  const Caller* caller = CallerTable::Get().Find(context);
  return caller == nullptr ? Nobody() : caller->principal;
}

Principal AuthorOf(const grpc::ServerContextBase& context) {
  const Caller* caller = CallerTable::Get().Find(context);
  return caller == nullptr ? Nobody() : caller->author;
}

absl::Status EndOf(const grpc::ServerContextBase& context) {
  Caller* caller = CallerTable::Get().Find(context);
  if (caller == nullptr) return absl::OkStatus();
  absl::MutexLock lock(&caller->mu);
  return caller->end;
}

absl::Status CountInShare(const grpc::ServerContextBase& context) {
  Caller* const caller = CallerTable::Get().Find(context);
  if (caller == nullptr || caller->shared_as.has_value()) return absl::OkStatus();
  const absl::Status status = caller->share->Begin(caller->principal.tenant);
  if (status.ok()) caller->shared_as = caller->principal.tenant;
  return status;
}

RequestIds IdsOf(const grpc::ServerContextBase& context) {
  const Caller* caller = CallerTable::Get().Find(context);
  return caller == nullptr ? RequestIds() : caller->ids;
}

void ChargeBlocks(const grpc::ServerContextBase& context, int64_t blocks, int64_t bytes) {
  Caller* const caller = CallerTable::Get().Find(context);
  if (caller == nullptr) return;
  caller->work.blocks += blocks;
  caller->work.bytes += bytes;
  caller->guard->ChargeBytes(caller->principal, bytes);
}

void NoteHit(const grpc::ServerContextBase& context, int64_t tokens) {
  if (Caller* caller = CallerTable::Get().Find(context); caller != nullptr)
    caller->work.hit_tokens = tokens;
}

CallWork WorkOf(const grpc::ServerContextBase& context) {
  const Caller* caller = CallerTable::Get().Find(context);
  return caller == nullptr ? CallWork() : caller->work;
}

void Audit(const grpc::ServerContextBase& context, absl::string_view what,
           const absl::Status& outcome, std::string detail) {
  const Caller* caller = CallerTable::Get().Find(context);
  if (caller == nullptr) return;
  const absl::Status end = EndOf(context);
  caller->guard->audit().Write({.what = what,
                                .who = caller->author.name,
                                .tenant = caller->author.tenant,
                                .from = context.peer(),
                                .request_id = caller->ids.request_id,
                                .outcome = end.ok() ? outcome : end,
                                .detail = std::move(detail)});
}

}  // namespace reprise::api
