#include "engine/backend/cuda/kernels/tensor_map.h"
#include "tests/gpu/hopper_probe.cuh"

namespace reprise::engine::cuda {
namespace {

template <HopperProbe kProbe>
__global__ void HopperProbeKernel(const __grid_constant__ HopperProbeParams params) {
  if constexpr (kProbe == HopperProbe::kBox) ProbeBox(params);
  if constexpr (kProbe == HopperProbe::kProductOfRows) ProbeProductOfRows(params);
  if constexpr (kProbe == HopperProbe::kProductOfColumns) ProbeProductOfColumns(params);
}

cudaError_t Launch(HopperProbe probe, HopperProbeParams params) {
  switch (probe) {
    case HopperProbe::kBox: {
      const RowsTensor tensor = {const_cast<uint16_t*>(params.in), kProbeRows, kProbeColumns,
                                 kProbeBoxRows};
      if (const cudaError_t error = EncodeTensorMap(tensor, &params.map); error != cudaSuccess) {
        return error;
      }
      HopperProbeKernel<HopperProbe::kBox><<<1, kLanes, kProbeSharedBytes>>>(params);
      break;
    }
    case HopperProbe::kProductOfRows:
      HopperProbeKernel<HopperProbe::kProductOfRows>
          <<<1, kGroupThreads, kProbeSharedBytes>>>(params);
      break;
    case HopperProbe::kProductOfColumns:
      HopperProbeKernel<HopperProbe::kProductOfColumns>
          <<<1, kGroupThreads, kProbeSharedBytes>>>(params);
      break;
  }
  const cudaError_t error = cudaGetLastError();
  return error != cudaSuccess ? error : cudaDeviceSynchronize();
}

}  // namespace

const char* RunHopperProbe(HopperProbe probe, const void* in, int64_t in_bytes, const void* in_b,
                           int64_t in_b_bytes, void* out, int64_t out_bytes) {
  uint8_t* memory = nullptr;
  cudaError_t error = cudaMalloc(&memory, in_bytes + in_b_bytes + out_bytes);
  if (error != cudaSuccess) return cudaGetErrorString(error);
  HopperProbeParams params;
  params.in = reinterpret_cast<const uint16_t*>(memory);
  params.in_b = reinterpret_cast<const uint16_t*>(memory + in_bytes);
  params.out = memory + in_bytes + in_b_bytes;
  error = cudaMemcpy(memory, in, in_bytes, cudaMemcpyHostToDevice);
  if (error == cudaSuccess && in_b_bytes > 0) {
    error = cudaMemcpy(memory + in_bytes, in_b, in_b_bytes, cudaMemcpyHostToDevice);
  }
  if (error == cudaSuccess) error = cudaMemset(params.out, 0xFF, out_bytes);
  if (error == cudaSuccess) error = Launch(probe, params);
  if (error == cudaSuccess) error = cudaMemcpy(out, params.out, out_bytes, cudaMemcpyDeviceToHost);
  cudaFree(memory);
  return error == cudaSuccess ? "" : cudaGetErrorString(error);
}

}  // namespace reprise::engine::cuda
