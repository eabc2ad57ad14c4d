// The threads of the CPU backend for folders that are compiled without OpenMP.
#pragma once

#include <cstdint>

#include "absl/functional/function_ref.h"

namespace reprise::engine {

// Threads that RunCpuTasks uses at most when the calling thread calls it.
int CpuTaskThreads();

// Calls fn(thread, task) once for every task of [0, count); thread is below CpuTaskThreads(), and
// no two calls have the same at a time. Runs on the calling thread alone when count x
// work_per_task, in elements of a simple loop, is too little to wake another. BLOCKS until all are
// done.
void RunCpuTasks(int64_t count, int64_t work_per_task,
                 absl::FunctionRef<void(int thread, int64_t task)> fn);

}  // namespace reprise::engine
