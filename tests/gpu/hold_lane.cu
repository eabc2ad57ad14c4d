#include "tests/gpu/hold_lane.h"

namespace reprise {
namespace {

__global__ void Spin(int64_t nanoseconds) {
  int64_t begin = 0;
  int64_t now = 0;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(begin));
  do {
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  } while (now - begin < nanoseconds);
}

}  // namespace

bool HoldStream(void* stream, int64_t microseconds) {
  Spin<<<1, 1, 0, static_cast<cudaStream_t>(stream)>>>(microseconds * 1000);
  return cudaGetLastError() == cudaSuccess;
}

}  // namespace reprise
