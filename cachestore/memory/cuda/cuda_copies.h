// Gives a stream the copies of a plan.
#pragma once

#include <cuda_runtime_api.h>

#include "absl/status/status.h"
#include "cachestore/memory/copy_plan.h"

namespace reprise::cachestore {

// Nothing of `plan` is needed afterwards. After an error, part of it may have been enqueued.
absl::Status EnqueueCopies(const CopyPlan& plan, cudaStream_t stream);

}  // namespace reprise::cachestore
