// The CUDA runtime's types in the launchers' signatures: the toolkit's where there is one, else
// stand-ins, so that what calls launchers is compiled and tested everywhere.
#pragma once

#if __has_include(<cuda_runtime_api.h>)
#include <cuda_runtime_api.h>
#else

extern "C" {
enum cudaError { cudaSuccess = 0, cudaErrorInvalidValue = 1 };
using cudaError_t = cudaError;
using cudaStream_t = struct CUstream_st*;
}

#endif
