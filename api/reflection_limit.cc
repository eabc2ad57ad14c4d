#include "api/reflection_limit.h"

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "api/limits.h"
#include "api/stall_limit.h"

namespace reprise::api {
namespace {

using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::InterceptorBatchMethods;

// How the paths of the service begin, in all its versions.
constexpr absl::string_view kReflectionPath = "/grpc.reflection.";

// Lives as long as its call.
class ReflectionLimit final : public grpc::experimental::Interceptor {
 public:
  ReflectionLimit(grpc::ServerContextBase* context, absl::Duration max_silence)
      : limit_(context, StallLimit::LimitsOf(kMaxStreamTime, max_silence)) {
    limit_.BeginWait();
  }

  void Intercept(InterceptorBatchMethods* methods) override {
    // From now on the next one is waited for: the handler takes no time of its own.
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_MESSAGE)) {
      limit_.BeginWait();
    }
    methods->Proceed();
  }

 private:
  StallLimit limit_;
};

}  // namespace

grpc::experimental::Interceptor* ReflectionLimitFactory::CreateServerInterceptor(
    grpc::experimental::ServerRpcInfo* info) {
  if (!absl::StartsWith(info->method(), kReflectionPath)) return nullptr;
  return new ReflectionLimit(info->server_context(), max_silence_);
}

}  // namespace reprise::api
