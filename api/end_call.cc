#include "api/end_call.h"

#include <grpc/grpc.h>

namespace reprise::api {

void EndCall(grpc::ServerContextBase* context, const grpc::Status& status) {
  grpc_call_cancel_with_status(context->c_call(),
                               static_cast<grpc_status_code>(status.error_code()),
                               status.error_message().c_str(), nullptr);
}

}  // namespace reprise::api
