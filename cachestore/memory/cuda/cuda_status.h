// CUDA's errors as statuses.
#pragma once

#include <cuda_runtime_api.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace reprise::cachestore {

// OK for cudaSuccess. Else the message names `call` and CUDA's cause: kResourceExhausted where
// memory ran out, kUnimplemented where a kernel was compiled for other cards, kInternal otherwise;
// and it is no longer the calling thread's last error, for which the next launch would be blamed.
absl::Status CudaStatus(cudaError_t error, absl::string_view call);

}  // namespace reprise::cachestore
