#include "tests/cachestore/memory/cuda/lazy/lazy_cuda.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "cachestore/memory/cuda/launch_gather_copy.h"
#include "tests/gpu/hold_lane.h"

// CUDA's handles are pointers to these.
struct CUevent_st {
  CUstream_st* stream = nullptr;
  uint64_t recorded = 0;
  uint64_t passed = 0;
};
struct CUstream_st {
  struct Work {
    std::function<void()> run;  // or, when null:
    CUevent_st* awaited = nullptr;
    uint64_t record = 0;
  };
  std::deque<Work> waiting;
  CUgraph_st* captured = nullptr;  // not null: it is captured, and runs nothing
};
struct CUgraph_st {
  std::vector<std::function<void()>> work;
};
struct CUgraphExec_st {
  std::vector<std::function<void()>> work;
};

namespace reprise {
namespace {

constexpr size_t kCapacityBytes = size_t{1} << 32;
constexpr size_t kMaxPinnedBytes = size_t{64} << 30;

// What cudaGetLastError returns once: so far, of polls alone.
thread_local cudaError_t last_error = cudaSuccess;

// The whole runtime; every function below takes the lock.
struct Runtime {
  absl::Mutex mu;
  cudaError_t failure = cudaSuccess;
  int num_polls = 0;
  size_t used_bytes = 0;
  std::map<void*, std::pair<void*, size_t>> reserved;  // address -> what to free, bytes
  std::map<void*, size_t> pinned;
  std::set<cudaStream_t> streams;
  int num_graphs = 0;

  // Runs `event`'s stream until record number `record` of it has passed.
  void RunUntil(CUevent_st* event, uint64_t record) {
    while (event->passed < record) RunFront(event->stream);
  }
  // Whether [at, at + bytes) begins in one piece of pinned memory and ends in another.
  bool CrossesEdge(const void* at, size_t bytes) const {
    const auto* const begin = static_cast<const std::byte*>(at);
    for (const auto& [piece, piece_bytes] : pinned) {
      const std::byte* const edge = static_cast<const std::byte*>(piece) + piece_bytes;
      if (begin < edge && edge < begin + bytes) return true;
    }
    return false;
  }
  void RunFront(CUstream_st* stream) {
    CUstream_st::Work work = std::move(stream->waiting.front());
    stream->waiting.pop_front();
    if (work.run) {
      work.run();
    } else {
      RunUntil(work.awaited, work.record);
    }
  }
};

Runtime& TheRuntime() {
  static Runtime& runtime = *new Runtime;
  return runtime;
}

// A copy is cut by its caller where it would leave a piece of pinned memory.
void CopyNow(void* to, const void* from, size_t bytes) {
  if (TheRuntime().CrossesEdge(to, bytes) || TheRuntime().CrossesEdge(from, bytes)) std::abort();
  std::memcpy(to, from, bytes);
}

cudaError_t Enqueue(cudaStream_t stream, std::function<void()> run) {
  Runtime& runtime = TheRuntime();
  absl::MutexLock lock(&runtime.mu);
  if (runtime.failure != cudaSuccess) return runtime.failure;
  if (stream == nullptr) return cudaErrorInvalidValue;
  if (stream->captured != nullptr) {
    stream->captured->work.push_back(std::move(run));
  } else {
    stream->waiting.push_back({.run = std::move(run)});
  }
  return cudaSuccess;
}

}  // namespace

void FailLazyCuda(cudaError_t error) {
  absl::MutexLock lock(&TheRuntime().mu);
  TheRuntime().failure = error;
  for (CUstream_st* stream : TheRuntime().streams) stream->waiting.clear();
}

int NumLazyCudaPinned() {
  absl::MutexLock lock(&TheRuntime().mu);
  return static_cast<int>(TheRuntime().pinned.size());
}

int NumLazyCudaGraphs() {
  absl::MutexLock lock(&TheRuntime().mu);
  return TheRuntime().num_graphs;
}

bool HoldStream(void* stream, int64_t) {
  return Enqueue(static_cast<cudaStream_t>(stream), [] {}) == cudaSuccess;
}

namespace cachestore {

cudaError_t LaunchGatherCopy(const GatherRuns& runs, cudaStream_t stream) {
  auto list = std::make_shared<GatherRuns>(runs);
  return Enqueue(stream, [list] {
    for (uint32_t thread = kGatherThreads; thread-- > 0;) {
      for (uint32_t block = kGatherBlocks; block-- > 0;) {
        CopyGathered(*list, block, kGatherBlocks, thread, kGatherThreads);
      }
    }
  });
}

cudaError_t CheckGatherCopy() { return cudaSuccess; }

}  // namespace cachestore
}  // namespace reprise

using reprise::CopyNow;
using reprise::Enqueue;
using reprise::TheRuntime;

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : cudaErrorInvalidDevice; }
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) {
  *value = 1;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetStreamPriorityRange(int* lowest, int* highest) {
  *lowest = 0;
  *highest = -5;
  return cudaSuccess;
}
cudaError_t cudaGetLastError() { return std::exchange(reprise::last_error, cudaSuccess); }
const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaErrorIllegalAddress ? "an illegal memory access was encountered" : "an error";
}
const char* cudaGetErrorName(cudaError_t error) {
  return error == cudaErrorIllegalAddress ? "cudaErrorIllegalAddress" : "cudaError";
}

cudaError_t cudaMalloc(void** place, size_t bytes) {
  absl::MutexLock lock(&TheRuntime().mu);
  if (bytes > reprise::kCapacityBytes - TheRuntime().used_bytes) return cudaErrorMemoryAllocation;
  // Only what fills pages of 2 MiB begins at the start of one.
  const size_t offset = bytes < (size_t{2} << 20) ? 512 : 0;
  void* const memory = std::aligned_alloc(4096, (bytes + offset + 4095) / 4096 * 4096);
  *place = static_cast<std::byte*>(memory) + offset;
  TheRuntime().reserved[*place] = {memory, bytes};
  TheRuntime().used_bytes += bytes;
  return cudaSuccess;
}
cudaError_t cudaFree(void* place) {
  absl::MutexLock lock(&TheRuntime().mu);
  const auto it = TheRuntime().reserved.find(place);
  if (it == TheRuntime().reserved.end()) std::abort();
  std::free(it->second.first);
  TheRuntime().used_bytes -= it->second.second;
  TheRuntime().reserved.erase(it);
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  absl::MutexLock lock(&TheRuntime().mu);
  *total_bytes = reprise::kCapacityBytes;
  *free_bytes = *total_bytes - TheRuntime().used_bytes;
  return cudaSuccess;
}
cudaError_t cudaHostRegister(void* host, size_t bytes, unsigned) {
  absl::MutexLock lock(&TheRuntime().mu);
  if (bytes > reprise::kMaxPinnedBytes) return cudaErrorMemoryAllocation;
  return TheRuntime().pinned.emplace(host, bytes).second ? cudaSuccess
                                                         : cudaErrorHostMemoryAlreadyRegistered;
}
cudaError_t cudaHostUnregister(void* host) {
  absl::MutexLock lock(&TheRuntime().mu);
  if (TheRuntime().pinned.erase(host) == 0) std::abort();
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned, int) {
  *stream = new CUstream_st;
  absl::MutexLock lock(&TheRuntime().mu);
  TheRuntime().streams.insert(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  absl::MutexLock lock(&TheRuntime().mu);
  while (!stream->waiting.empty()) TheRuntime().RunFront(stream);
  return TheRuntime().failure;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  absl::MutexLock lock(&TheRuntime().mu);
  TheRuntime().streams.erase(stream);
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  absl::MutexLock lock(&TheRuntime().mu);
  if (TheRuntime().failure != cudaSuccess) return TheRuntime().failure;
  stream->waiting.push_back({.awaited = event, .record = event->recorded});
  return cudaSuccess;
}

// A thread that captures may not do what waits or synchronizes; others may.
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  absl::MutexLock lock(&TheRuntime().mu);
  if (mode != cudaStreamCaptureModeThreadLocal) return cudaErrorInvalidValue;
  if (stream->captured != nullptr || !stream->waiting.empty()) return cudaErrorIllegalState;
  stream->captured = new CUgraph_st;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  absl::MutexLock lock(&TheRuntime().mu);
  *graph = std::exchange(stream->captured, nullptr);
  if (TheRuntime().failure == cudaSuccess) return cudaSuccess;
  delete std::exchange(*graph, nullptr);
  return cudaErrorStreamCaptureInvalidated;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  *exec = new CUgraphExec_st{graph->work};
  absl::MutexLock lock(&TheRuntime().mu);
  ++TheRuntime().num_graphs;
  return cudaSuccess;
}
// As many nodes as there were are the same ones with other operands.
cudaError_t cudaGraphExecUpdate(cudaGraphExec_t exec, cudaGraph_t graph,
                                cudaGraphExecUpdateResultInfo*) {
  if (exec->work.size() != graph->work.size()) return cudaErrorGraphExecUpdateFailure;
  exec->work = graph->work;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  absl::MutexLock lock(&TheRuntime().mu);
  --TheRuntime().num_graphs;
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  return Enqueue(stream, [work = exec->work] {
    for (const auto& run : work) run();
  });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  absl::MutexLock lock(&TheRuntime().mu);
  if (TheRuntime().failure != cudaSuccess) return TheRuntime().failure;
  if (stream->captured != nullptr) std::abort();  // no lane is ever captured
  event->stream = stream;
  const uint64_t record = ++event->recorded;
  stream->waiting.push_back({.run = [event, record] { event->passed = record; }});
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  absl::MutexLock lock(&TheRuntime().mu);
  if (TheRuntime().failure != cudaSuccess) return TheRuntime().failure;
  if (event->passed < event->recorded && ++TheRuntime().num_polls % 4 == 0) {
    TheRuntime().RunUntil(event, event->recorded);
  }
  if (event->passed == event->recorded) return cudaSuccess;
  return reprise::last_error = cudaErrorNotReady;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  absl::MutexLock lock(&TheRuntime().mu);
  if (TheRuntime().failure != cudaSuccess) return TheRuntime().failure;
  TheRuntime().RunUntil(event, event->recorded);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream) {
  return Enqueue(stream, [=] { CopyNow(to, from, bytes); });
}
cudaError_t cudaMemcpyBatchAsync(void* const* to, const void* const* from, const size_t* bytes,
                                 size_t count, cudaMemcpyAttributes* attributes, size_t* first,
                                 size_t num_attributes, cudaStream_t stream) {
  if (num_attributes != 1 || first[0] != 0 || count == 0) return cudaErrorInvalidValue;
  if (attributes->srcAccessOrder != cudaMemcpySrcAccessOrderStream) return cudaErrorInvalidValue;
  const std::vector<void*> all_to(to, to + count);
  const std::vector<const void*> all_from(from, from + count);
  const std::vector<size_t> all_bytes(bytes, bytes + count);
  return Enqueue(stream, [=] {
    for (size_t i = count; i-- > 0;) CopyNow(all_to[i], all_from[i], all_bytes[i]);
  });
}

}  // extern "C"
