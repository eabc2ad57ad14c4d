#include "api/end_call.h"

#include <grpc/grpc.h>

#include "absl/synchronization/mutex.h"
#include "api/auth/caller_table.h"
#include "api/status_codec.h"

namespace reprise::api {

void EndCall(grpc::ServerContextBase* context, const grpc::Status& status) {
  // First: the handler may return, and the log ask, as soon as gRPC knows.
  if (Caller* caller = CallerTable::Get().Find(*context); caller != nullptr) {
    absl::MutexLock lock(&caller->mu);
    if (caller->end.ok()) caller->end = FromGrpc(status);
  }
  grpc_call_cancel_with_status(context->c_call(),
                               static_cast<grpc_status_code>(status.error_code()),
                               status.error_message().c_str(), nullptr);
}

void EndCalls(const Guard* guard, const grpc::Status& status) {
  // Without the table's lock: gRPC may run a call's reactions on this thread, to its end.
  for (grpc_call* call : CallerTable::Get().EndCallsOf(guard, FromGrpc(status))) {
    grpc_call_cancel_with_status(call, static_cast<grpc_status_code>(status.error_code()),
                                 status.error_message().c_str(), nullptr);
    grpc_call_unref(call);
  }
}

}  // namespace reprise::api
