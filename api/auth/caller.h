// Who makes a gRPC call, for its handler, and what the call has done, for the log.
// CallerInterceptor finds out before the handler begins, and sends the request's id back behind the
// answer; the functions below tell. They may be called as long as the call's context lives, those
// that take notes by one thread at a time. Else thread-safe.
//
// A call that ought to be refused does not come so far: ListenerCredentials refuses it before its
// first message is read. But for one that would hold a thread while its tenant holds its share of
// them: that is known only here, where a call's end is seen as well. It is ended, and its handler
// runs for nobody.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_interceptor.h>

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "api/auth/call_share.h"
#include "api/auth/guard.h"
#include "api/auth/running_calls.h"
#include "api/limits.h"
#include "api/listen_address.h"
#include "api/log/call_log.h"
#include "api/log/request_ids.h"

namespace reprise::api {

// Makes the interceptors of a server that listens on `listener`, and counts its calls, also by
// tenant. `guard` and `running` must outlive the server. A call that holds a thread ends when its
// client has not taken the last of the answer for `max_silence`.
class CallerInterceptorFactory final
    : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  CallerInterceptorFactory(const ListenAddress& listener, Guard* guard, RunningCalls* running,
                           absl::Duration max_silence)
      : listener_(listener),
        guard_(guard),
        running_(running),
        max_silence_(max_silence),
        share_(kMaxTenantCalls, kMaxTenantAnswers) {}

  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* info) override;

 private:
  const ListenAddress listener_;
  Guard* const guard_;
  RunningCalls* const running_;
  const absl::Duration max_silence_;
  CallShare share_;
};

// Who makes the call, for the logs: PrincipalOf, but for a call that was refused.
Principal AuthorOf(const grpc::ServerContextBase& context);
// How the server has ended the call from outside of its handler; OK: it has not.
absl::Status EndOf(const grpc::ServerContextBase& context);

// Counts the call among those of its tenant that hold a thread, as a callback does that is handed
// to one, until it is answered; nothing happens when it is counted already. kResourceExhausted: the
// tenant has as many as it may (CallShare).
absl::Status CountInShare(const grpc::ServerContextBase& context);

// The ids of the call's request; empty without an interceptor.
RequestIds IdsOf(const grpc::ServerContextBase& context);

// Counts blocks of `bytes` together that the call has moved, also against the rate of its tenant.
void ChargeBlocks(const grpc::ServerContextBase& context, int64_t blocks, int64_t bytes);
// Notes how many tokens of the call's prompt were cached.
void NoteHit(const grpc::ServerContextBase& context, int64_t tokens);
// What the call has done so far.
CallWork WorkOf(const grpc::ServerContextBase& context);

// Writes what the call did to the audit log; of one that was ended from outside, how it was.
// `detail` is for people and holds no secret.
void Audit(const grpc::ServerContextBase& context, absl::string_view what,
           const absl::Status& outcome, std::string detail = "");

}  // namespace reprise::api
