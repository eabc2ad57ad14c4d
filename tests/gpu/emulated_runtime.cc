// What the benchmarks of kernels ask CUDA's runtime for, over LazyDevice: events, and the card's
// measures, small ones.
#include <cuda_runtime_api.h>

#include <chrono>
#include <cstddef>

#include "bench/gpu/cuda/stream_read.h"
#include "tests/fakes/lazy_device.h"

struct CUevent_st {
  std::chrono::steady_clock::time_point time;
};

namespace reprise::bench {

cudaError_t LaunchStreamRead(const void* from, size_t bytes, void* sink, cudaStream_t stream) {
  reinterpret_cast<cachestore::LazyDevice::Queue*>(stream)->Enqueue([from, bytes] {
    unsigned sum = 0;
    for (size_t i = 0; i < bytes; ++i) sum ^= static_cast<const unsigned char*>(from)[i];
    [[maybe_unused]] volatile const unsigned kept = sum;
  });
  return cudaSuccess;
}

}  // namespace reprise::bench

extern "C" {

cudaError_t cudaGetDevice(int* card) {
  *card = 0;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  *value = attribute == cudaDevAttrL2CacheSize ? 64 << 10 : 2;
  return cudaSuccess;
}
const char* cudaGetErrorString(cudaError_t) { return "an error"; }
const char* cudaGetErrorName(cudaError_t) { return "cudaErrorAny"; }
cudaError_t cudaGetLastError() { return cudaSuccess; }

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  reinterpret_cast<reprise::cachestore::LazyDevice::Queue*>(stream)->Enqueue(
      [event] { event->time = std::chrono::steady_clock::now(); });
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  *milliseconds = std::chrono::duration<float, std::milli>(end->time - begin->time).count();
  return cudaSuccess;
}

}  // extern "C"
