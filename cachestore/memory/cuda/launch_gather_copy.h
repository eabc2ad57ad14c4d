// Launches the kernel for small pieces.
#pragma once

#include <cuda_runtime_api.h>

#include "cachestore/memory/gather_copy.h"

namespace reprise::cachestore {

// Gives `stream` the copy of `runs`, whose memory the device reaches; no two destinations overlap.
// The list itself is not needed afterwards.
cudaError_t LaunchGatherCopy(const GatherRuns& runs, cudaStream_t stream);

// Whether the kernel was compiled for this device: cudaErrorNoKernelImageForDevice if not.
cudaError_t CheckGatherCopy();

}  // namespace reprise::cachestore
