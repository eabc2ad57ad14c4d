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

}  // namespace reprise::api
