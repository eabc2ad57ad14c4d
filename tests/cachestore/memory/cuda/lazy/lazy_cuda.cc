#include "tests/cachestore/memory/cuda/lazy/lazy_cuda.h"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
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
  std::thread::id capturer;        // then the thread that began to
  bool is_invalid = false;         // then of the capture: something was not allowed
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

// What cudaGetLastError returns once.
thread_local cudaError_t last_error = cudaSuccess;

cudaError_t Said(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

[[noreturn]] void Die(const char* why) {
  std::fprintf(stderr, "lazy CUDA: %s\n", why);
  std::abort();
}

// The whole runtime; every function below takes the lock.
struct Runtime {
  absl::Mutex mu;
  cudaError_t failure = cudaSuccess;
  int num_polls = 0;
  size_t used_bytes = 0;
  std::map<void*, std::pair<void*, size_t>> reserved;  // address -> what to free, bytes
  std::map<void*, size_t> pinned;
  std::set<cudaStream_t> streams;
  std::set<cudaEvent_t> events;
  // Streams may still wait for them.
  std::vector<std::unique_ptr<CUevent_st>> destroyed_events;
  std::set<cudaGraphExec_t> graphs;

  // Runs `event`'s stream until record number `record` of it has passed.
  void RunUntil(CUevent_st* event, uint64_t record) {
    while (event->passed < record) RunFront(event->stream);
  }
  // Whether [at, at + bytes) lies in one piece of memory that the card reaches.
  bool Reaches(const void* at, size_t bytes) const {
    const auto* const begin = static_cast<const std::byte*>(at);
    const auto is_in = [&](const void* piece, size_t piece_bytes) {
      const auto* const first = static_cast<const std::byte*>(piece);
      return first <= begin && begin + bytes <= first + piece_bytes;
    };
    for (const auto& [piece, owned] : reserved) {
      if (is_in(piece, owned.second)) return true;
    }
    for (const auto& [piece, piece_bytes] : pinned) {
      if (is_in(piece, piece_bytes)) return true;
    }
    return false;
  }
  bool OverlapsPinned(const void* at, size_t bytes) const {
    const auto* const begin = static_cast<const std::byte*>(at);
    for (const auto& [piece, piece_bytes] : pinned) {
      const auto* const first = static_cast<const std::byte*>(piece);
      if (first < begin + bytes && begin < first + piece_bytes) return true;
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
  // What a thread that captures may not do, since no graph would hold it: it ends the capture.
  cudaError_t Unsafe() {
    for (CUstream_st* stream : streams) {
      if (stream->captured == nullptr || stream->capturer != std::this_thread::get_id()) continue;
      stream->is_invalid = true;
      return cudaErrorStreamCaptureUnsupported;
    }
    return cudaSuccess;
  }
  // Of every call that gives `stream` work.
  cudaError_t CheckGiven(cudaStream_t stream) const {
    if (failure != cudaSuccess) return failure;
    if (streams.count(stream) == 0) return cudaErrorInvalidResourceHandle;
    return stream->is_invalid ? cudaErrorStreamCaptureInvalidated : cudaSuccess;
  }
  // Of every call that waits for `event`.
  cudaError_t CheckWaited(cudaEvent_t event) {
    if (failure != cudaSuccess) return failure;
    if (events.count(event) == 0) return cudaErrorInvalidResourceHandle;
    return Unsafe();
  }
};

Runtime& TheRuntime() {
  static Runtime& runtime = *new Runtime;
  return runtime;
}

// CUDA takes other memory of the host too, and copies from it at once, before what the stream
// awaits: that is never meant here. A copy is cut by its caller where a piece of pinned memory
// ends.
void CheckReached(const void* at, size_t bytes) {
  if (!TheRuntime().Reaches(at, bytes)) {
    Die("a copy of memory that is neither reserved nor pinned, or is in two pieces");
  }
}

void CopyNow(void* to, const void* from, size_t bytes) {
  CheckReached(to, bytes);
  CheckReached(from, bytes);
  std::memcpy(to, from, bytes);
}

cudaError_t Enqueue(cudaStream_t stream, std::function<void()> run) {
  Runtime& runtime = TheRuntime();
  absl::MutexLock lock(&runtime.mu);
  if (const cudaError_t error = runtime.CheckGiven(stream); error != cudaSuccess) {
    return Said(error);
  }
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
  return static_cast<int>(TheRuntime().graphs.size());
}

bool HoldStream(void* stream, int64_t) {
  return Enqueue(static_cast<cudaStream_t>(stream), [] {}) == cudaSuccess;
}

namespace cachestore {

cudaError_t LaunchGatherCopy(const GatherRuns& runs, cudaStream_t stream) {
  // A launcher returns what the thread's last error is.
  if (const cudaError_t before = cudaGetLastError(); before != cudaSuccess) return before;
  auto list = std::make_shared<GatherRuns>(runs);
  return Enqueue(stream, [list] {
    for (const GatherRun& run : absl::MakeConstSpan(list->runs, list->size)) {
      CheckReached(run.to, run.num_words * sizeof(GatherWord));
      CheckReached(run.from, run.num_words * sizeof(GatherWord));
    }
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

using reprise::CheckReached;
using reprise::CopyNow;
using reprise::Die;
using reprise::Enqueue;
using reprise::Runtime;
using reprise::Said;
using reprise::TheRuntime;

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  return Said(device == 0 ? cudaSuccess : cudaErrorInvalidDevice);
}
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
  if (const cudaError_t error = TheRuntime().Unsafe(); error != cudaSuccess) return Said(error);
  if (bytes > reprise::kCapacityBytes - TheRuntime().used_bytes) {
    return Said(cudaErrorMemoryAllocation);
  }
  // Only what fills pages of 2 MiB begins at the start of one.
  const size_t offset = bytes < (size_t{2} << 20) ? 512 : 0;
  void* const memory = std::aligned_alloc(4096, (bytes + offset + 4095) / 4096 * 4096);
  *place = static_cast<std::byte*>(memory) + offset;
  TheRuntime().reserved[*place] = {memory, bytes};
  TheRuntime().used_bytes += bytes;
  return cudaSuccess;
}
// CUDA waits for the work under way; here a copy that comes later dies of it.
cudaError_t cudaFree(void* place) {
  absl::MutexLock lock(&TheRuntime().mu);
  if (const cudaError_t error = TheRuntime().Unsafe(); error != cudaSuccess) return Said(error);
  const auto it = TheRuntime().reserved.find(place);
  if (it == TheRuntime().reserved.end()) Die("memory is freed that nobody reserved");
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
cudaError_t cudaHostRegister(void* host, size_t bytes, unsigned flags) {
  absl::MutexLock lock(&TheRuntime().mu);
  if (const cudaError_t error = TheRuntime().Unsafe(); error != cudaSuccess) return Said(error);
  if (flags != cudaHostRegisterDefault || bytes == 0) return Said(cudaErrorInvalidValue);
  if (bytes > reprise::kMaxPinnedBytes) return Said(cudaErrorMemoryAllocation);
  if (TheRuntime().OverlapsPinned(host, bytes)) return Said(cudaErrorHostMemoryAlreadyRegistered);
  TheRuntime().pinned[host] = bytes;
  return cudaSuccess;
}
cudaError_t cudaHostUnregister(void* host) {
  absl::MutexLock lock(&TheRuntime().mu);
  if (const cudaError_t error = TheRuntime().Unsafe(); error != cudaSuccess) return Said(error);
  if (TheRuntime().pinned.erase(host) == 0) Die("memory is unpinned that nobody pinned");
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned, int) {
  *stream = new CUstream_st;
  absl::MutexLock lock(&TheRuntime().mu);
  TheRuntime().streams.insert(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  Runtime& runtime = TheRuntime();
  absl::MutexLock lock(&runtime.mu);
  if (const cudaError_t error = runtime.CheckGiven(stream); error != cudaSuccess) {
    return Said(error);
  }
  if (const cudaError_t error = runtime.Unsafe(); error != cudaSuccess) return Said(error);
  while (!stream->waiting.empty()) runtime.RunFront(stream);
  return cudaSuccess;
}
// What it was given it does before it goes.
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  absl::MutexLock lock(&TheRuntime().mu);
  if (TheRuntime().streams.count(stream) == 0) Die("a stream is destroyed that is none");
  while (!stream->waiting.empty()) TheRuntime().RunFront(stream);
  TheRuntime().streams.erase(stream);
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  Runtime& runtime = TheRuntime();
  absl::MutexLock lock(&runtime.mu);
  if (const cudaError_t error = runtime.CheckGiven(stream); error != cudaSuccess) {
    return Said(error);
  }
  if (runtime.events.count(event) == 0) return Said(cudaErrorInvalidResourceHandle);
  if (stream->captured != nullptr) {  // and no event is recorded while one is
    stream->is_invalid = true;
    return Said(cudaErrorStreamCaptureIsolation);
  }
  stream->waiting.push_back({.awaited = event, .record = event->recorded});
  return cudaSuccess;
}

// A thread that captures may not do what waits or synchronizes; others may.
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  absl::MutexLock lock(&TheRuntime().mu);
  if (mode != cudaStreamCaptureModeThreadLocal) return Said(cudaErrorInvalidValue);
  if (const cudaError_t error = TheRuntime().CheckGiven(stream); error != cudaSuccess) {
    return Said(error);
  }
  if (stream->captured != nullptr || !stream->waiting.empty()) return Said(cudaErrorIllegalState);
  stream->captured = new CUgraph_st;
  stream->capturer = std::this_thread::get_id();
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  absl::MutexLock lock(&TheRuntime().mu);
  *graph = nullptr;
  if (TheRuntime().streams.count(stream) == 0) return Said(cudaErrorInvalidResourceHandle);
  if (stream->captured == nullptr) return Said(cudaErrorIllegalState);
  if (stream->capturer != std::this_thread::get_id()) {
    return Said(cudaErrorStreamCaptureWrongThread);
  }
  std::unique_ptr<CUgraph_st> captured(std::exchange(stream->captured, nullptr));
  const bool is_invalid = std::exchange(stream->is_invalid, false);
  if (is_invalid || TheRuntime().failure != cudaSuccess) {
    return Said(cudaErrorStreamCaptureInvalidated);
  }
  *graph = captured.release();
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  *exec = new CUgraphExec_st{graph->work};
  absl::MutexLock lock(&TheRuntime().mu);
  TheRuntime().graphs.insert(*exec);
  return cudaSuccess;
}
// As many nodes as there were are the same ones with other operands.
cudaError_t cudaGraphExecUpdate(cudaGraphExec_t exec, cudaGraph_t graph,
                                cudaGraphExecUpdateResultInfo*) {
  absl::MutexLock lock(&TheRuntime().mu);
  if (TheRuntime().graphs.count(exec) == 0) return Said(cudaErrorInvalidValue);
  if (exec->work.size() != graph->work.size()) return Said(cudaErrorGraphExecUpdateFailure);
  exec->work = graph->work;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  absl::MutexLock lock(&TheRuntime().mu);
  if (TheRuntime().graphs.erase(exec) == 0) Die("a graph is destroyed that is none");
  delete exec;
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  std::vector<std::function<void()>> work;
  {
    absl::MutexLock lock(&TheRuntime().mu);
    if (TheRuntime().graphs.count(exec) == 0) return Said(cudaErrorInvalidValue);
    work = exec->work;
  }
  return Enqueue(stream, [work = std::move(work)] {
    for (const auto& run : work) run();
  });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  absl::MutexLock lock(&TheRuntime().mu);
  TheRuntime().events.insert(*event);
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  absl::MutexLock lock(&TheRuntime().mu);
  if (TheRuntime().events.erase(event) == 0) Die("an event is destroyed that is none");
  TheRuntime().destroyed_events.emplace_back(event);
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  Runtime& runtime = TheRuntime();
  absl::MutexLock lock(&runtime.mu);
  if (const cudaError_t error = runtime.CheckGiven(stream); error != cudaSuccess) {
    return Said(error);
  }
  if (runtime.events.count(event) == 0) return Said(cudaErrorInvalidResourceHandle);
  if (stream->captured != nullptr) Die("an event is recorded where a lane's stream never is");
  event->stream = stream;
  const uint64_t record = ++event->recorded;
  stream->waiting.push_back({.run = [event, record] { event->passed = record; }});
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  Runtime& runtime = TheRuntime();
  absl::MutexLock lock(&runtime.mu);
  if (const cudaError_t error = runtime.CheckWaited(event); error != cudaSuccess) {
    return Said(error);
  }
  if (event->passed < event->recorded && ++runtime.num_polls % 4 == 0) {
    runtime.RunUntil(event, event->recorded);
  }
  return Said(event->passed == event->recorded ? cudaSuccess : cudaErrorNotReady);
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  Runtime& runtime = TheRuntime();
  absl::MutexLock lock(&runtime.mu);
  if (const cudaError_t error = runtime.CheckWaited(event); error != cudaSuccess) {
    return Said(error);
  }
  runtime.RunUntil(event, event->recorded);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream) {
  {
    absl::MutexLock lock(&TheRuntime().mu);
    CheckReached(to, bytes);
    CheckReached(from, bytes);
  }
  return Enqueue(stream, [=] { CopyNow(to, from, bytes); });
}
// Refused on a stream that is captured, where CUDA's documentation promises nothing.
cudaError_t cudaMemcpyBatchAsync(void* const* to, const void* const* from, const size_t* bytes,
                                 size_t count, cudaMemcpyAttributes* attributes, size_t* first,
                                 size_t num_attributes, cudaStream_t stream) {
  if (num_attributes != 1 || first[0] != 0 || count == 0) return Said(cudaErrorInvalidValue);
  if (attributes->srcAccessOrder != cudaMemcpySrcAccessOrderStream) {
    return Said(cudaErrorInvalidValue);
  }
  const std::vector<void*> all_to(to, to + count);
  const std::vector<const void*> all_from(from, from + count);
  const std::vector<size_t> all_bytes(bytes, bytes + count);
  {
    absl::MutexLock lock(&TheRuntime().mu);
    if (stream != nullptr && TheRuntime().streams.count(stream) > 0 &&
        stream->captured != nullptr) {
      stream->is_invalid = true;
      return Said(cudaErrorStreamCaptureUnsupported);
    }
    for (size_t i = 0; i < count; ++i) {
      CheckReached(to[i], bytes[i]);
      CheckReached(from[i], bytes[i]);
    }
  }
  return Enqueue(stream, [=] {
    for (size_t i = count; i-- > 0;) CopyNow(all_to[i], all_from[i], all_bytes[i]);
  });
}

}  // extern "C"
