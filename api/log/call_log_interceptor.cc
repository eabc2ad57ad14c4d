#include "api/log/call_log_interceptor.h"

#include <grpcpp/server_context.h>

#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "api/auth/caller.h"
#include "api/auth/principal.h"
#include "api/status_codec.h"

namespace reprise::api {
namespace {

using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::InterceptorBatchMethods;
using grpc::experimental::ServerRpcInfo;

// Lives as long as its call, whose hooks come one after the other.
class CallLogInterceptor final : public grpc::experimental::Interceptor {
 public:
  CallLogInterceptor(CallLog* log, ServerRpcInfo* info) : log_(log), info_(info) {}

  void Intercept(InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_MESSAGE) &&
        !first_answer_.has_value()) {
      first_answer_ = absl::Now();
    }
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      Write(methods->GetSendStatus());
    }
    methods->Proceed();
  }

 private:
  void Write(const grpc::Status& status) {
    const grpc::ServerContextBase& context = *info_->server_context();
    const Principal author = AuthorOf(context);
    const absl::Status ended = EndOf(context);
    const absl::Time end = absl::Now();
    CallRecord record;
    record.rpc = std::string(absl::StripPrefix(info_->method(), "/"));
    record.ids = IdsOf(context);
    record.who = author.name;
    record.tenant = author.tenant;
    record.from = context.peer();
    // What the client is told.
    record.SetOutcome(ended.ok() ? FromGrpc(status) : ended);
    if (!ended.ok()) record.failed = true;
    if (!ended.ok()) record.cause = std::string(ended.message());
    record.time = end - start_;
    record.waiting = first_answer_.value_or(end) - start_;
    record.waits_for_client = info_->type() == ServerRpcInfo::Type::CLIENT_STREAMING ||
                              absl::EndsWith(record.rpc, "/Watch");
    record.work = WorkOf(context);
    log_->Write(record);
  }

  CallLog* const log_;
  ServerRpcInfo* const info_;
  const absl::Time start_ = absl::Now();
  std::optional<absl::Time> first_answer_;
};

}  // namespace

grpc::experimental::Interceptor* CallLogInterceptorFactory::CreateServerInterceptor(
    ServerRpcInfo* info) {
  return new CallLogInterceptor(log_, info);
}

}  // namespace reprise::api
