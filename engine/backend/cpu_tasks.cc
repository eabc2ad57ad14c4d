#include "engine/backend/cpu_tasks.h"

#include "engine/backend/cpu_parallel.h"

namespace reprise::engine {

int CpuTaskThreads() { return omp_get_max_threads(); }

void RunCpuTasks(int64_t count, int64_t work_per_task,
                 absl::FunctionRef<void(int thread, int64_t task)> fn) {
  ParallelItems(count, work_per_task, 32 * 1024, fn);
}

}  // namespace reprise::engine
