// absl::Status to grpc::Status and back: same code, same message.
#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace reprise::api {

grpc::Status ToGrpc(const absl::Status& status);
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace reprise::api
