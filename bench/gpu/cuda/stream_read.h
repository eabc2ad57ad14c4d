// The limit of what only reads: a kernel that reads bytes once, in order, and keeps nothing.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

namespace reprise::bench {

// Reads [from, from + bytes), a multiple of 16, on `stream`. Writes 4 bytes to `sink` or, almost
// always, nothing.
cudaError_t LaunchStreamRead(const void* from, size_t bytes, void* sink, cudaStream_t stream);

}  // namespace reprise::bench
