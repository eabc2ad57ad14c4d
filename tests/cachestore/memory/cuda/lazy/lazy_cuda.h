// A CUDA runtime for tests, linked instead of NVIDIA's: what CudaDevice calls, on host memory, and
// as late as CUDA allows. A stream does nothing before somebody waits for it, small cudaMallocs
// share pages, a list of copies is made in reverse, and no copy may cross an edge of pinned memory.
// What a captured stream is given becomes a graph. So all of CudaDevice, and of card_graphs.h, but
// the card runs without one.
//
// It is as strict as CUDA's documentation: a stream, an event or a graph that is none is an error,
// what a thread must not do while it captures ends the capture, and every error stays the thread's
// last one until it is asked for, which the next launch does. It ends the process where CUDA would
// go on and do what nobody meant: a copy of memory that is not pinned, or not there any more.
#pragma once

#include <cuda_runtime_api.h>

namespace reprise {

// From now on what is waited for, and all copies and launches, fail with `error`, as they do after
// a kernel has; cudaSuccess takes it back.
void FailLazyCuda(cudaError_t error);

// Graphs that can be launched.
int NumLazyCudaGraphs();

// Pieces of host memory that are pinned.
int NumLazyCudaPinned();

}  // namespace reprise
