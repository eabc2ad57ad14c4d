#include "cachestore/memory/cuda/cuda_device.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cachestore/base/check.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/memory/cuda/cuda_copies.h"
#include "cachestore/memory/cuda/cuda_status.h"
#include "cachestore/memory/cuda/launch_gather_copy.h"

namespace reprise::cachestore {
namespace {

// Drivers fail to pin 512 GiB in one call.
constexpr size_t kMaxPinnedPiece = size_t{64} << 30;

// No card, no driver, or one that this build is not for: kNotFound.
absl::Status CheckDevice() {
  int count = 0;
  if (const cudaError_t error = cudaGetDeviceCount(&count); error != cudaSuccess || count == 0) {
    cudaGetLastError();
    return absl::NotFoundError(absl::StrCat(
        "no CUDA device: ", error == cudaSuccess ? "none is visible" : cudaGetErrorString(error),
        "; see nvidia-smi, and CUDA_VISIBLE_DEVICES"));
  }
  RETURN_IF_ERROR(CudaStatus(cudaSetDevice(0), "cudaSetDevice"));
  int reaches_host = 0;
  RETURN_IF_ERROR(CudaStatus(
      cudaDeviceGetAttribute(&reaches_host, cudaDevAttrCanUseHostPointerForRegisteredMem, 0),
      "cudaDeviceGetAttribute"));
  if (reaches_host == 0) {
    return absl::NotFoundError("the CUDA device cannot use pinned host memory at its own address");
  }
  if (const cudaError_t error = CheckGatherCopy(); error != cudaSuccess) {
    cudaGetLastError();
    int major = 0;
    int minor = 0;
    cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0);
    cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0);
    return absl::NotFoundError(
        absl::StrCat("the CUDA device has compute capability ", major, ".", minor,
                     ", and this build has kernels for 8.x and 9.0: ", cudaGetErrorString(error)));
  }
  return absl::OkStatus();
}

bool IsAligned(const void* at) { return reinterpret_cast<uintptr_t>(at) % Device::kAlignment == 0; }

}  // namespace

absl::StatusOr<std::unique_ptr<Device>> CudaDevice::Open(const CopyCrossovers& crossovers) {
  RETURN_IF_ERROR(CheckDevice());
  Lanes lanes;
  for (int i = 0; i < kNumLanes; ++i) {
    const bool computes = static_cast<Lane>(i) == Lane::kCompute;
    ASSIGN_OR_RETURN(lanes[i], CudaLane::Create(computes ? CudaLane::Urgency::kUrgent
                                                         : CudaLane::Urgency::kBackground));
  }
  return std::unique_ptr<Device>(new CudaDevice(crossovers, std::move(lanes)));
}

CudaDevice::CudaDevice(const CopyCrossovers& crossovers, Lanes lanes)
    : crossovers_(crossovers), lanes_(std::move(lanes)) {}

absl::StatusOr<DeviceBytes> CudaDevice::Reserve(size_t bytes) {
  CHECK(bytes > 0 && bytes % kAlignment == 0);
  void* place = nullptr;
  cudaError_t error = cudaMalloc(&place, bytes);
  if (error == cudaSuccess && !IsAligned(place)) {  // small ones share a page
    CudaStatus(cudaFree(place), "cudaFree").IgnoreError();
    error = cudaMalloc(&place, bytes + kAlignment);
  }
  if (error != cudaSuccess) {
    const absl::Status status = CudaStatus(error, "cudaMalloc");
    size_t free_bytes = 0;
    size_t total_bytes = 0;
    CudaStatus(cudaMemGetInfo(&free_bytes, &total_bytes), "cudaMemGetInfo").IgnoreError();
    return absl::Status(status.code(),
                        absl::StrCat("cannot reserve ", bytes, " bytes of the GPU, ", free_bytes,
                                     " of ", total_bytes, " are free (nvidia-smi lists who has ",
                                     "the others): ", status.message()));
  }
  auto* const start = static_cast<std::byte*>(place);
  const absl::Span<std::byte> reserved(start + -reinterpret_cast<uintptr_t>(start) % kAlignment,
                                       bytes);
  absl::MutexLock lock(&mu_);
  map_.Add(reserved, MemoryMap::Kind::kDevice);
  return DeviceBytes(reserved, [this, reserved, place] {
    {
      absl::MutexLock lock(&mu_);
      map_.Remove(reserved.data());
    }
    CudaStatus(cudaFree(place), "cudaFree").IgnoreError();
  });
}

absl::StatusOr<DeviceBytes> CudaDevice::Register(absl::Span<std::byte> host) {
  CHECK(!host.empty() && IsAligned(host.data()) && host.size() % kAlignment == 0);
  for (size_t begin = 0; begin < host.size(); begin += kMaxPinnedPiece) {
    const absl::Span<std::byte> piece = host.subspan(begin, kMaxPinnedPiece);
    const cudaError_t error = cudaHostRegister(piece.data(), piece.size(), cudaHostRegisterDefault);
    if (error != cudaSuccess) {
      Unpin(host.first(begin));
      const absl::Status status = CudaStatus(error, "cudaHostRegister");
      return absl::Status(
          status.code(),
          absl::StrCat("cannot pin ", host.size(), " bytes of RAM for the GPU: ", status.message(),
                       "; see ulimit -l, and what other programs have pinned"));
    }
    absl::MutexLock lock(&mu_);
    map_.Add(piece, MemoryMap::Kind::kHost);
  }
  return DeviceBytes(host, [this, host] { Unpin(host); });
}

void CudaDevice::Unpin(absl::Span<std::byte> host) {
  for (size_t begin = 0; begin < host.size(); begin += kMaxPinnedPiece) {
    {
      absl::MutexLock lock(&mu_);
      map_.Remove(host.data() + begin);
    }
    CudaStatus(cudaHostUnregister(host.data() + begin), "cudaHostUnregister").IgnoreError();
  }
}

absl::Status CudaDevice::Copy(Lane lane, absl::Span<const CopyPiece> pieces) {
  if (pieces.empty()) return absl::OkStatus();
  CopyPlan plan;
  {
    absl::MutexLock lock(&mu_);
    const CopyDirection direction = DirectionOf(pieces, map_);
    CHECK(MayCopy(lane, direction));
    plan = PlanCopies(pieces, direction, map_, crossovers_);
  }
  return LaneOf(lane).Enqueue([&](cudaStream_t stream) { return EnqueueCopies(plan, stream); });
}

Moment CudaDevice::Mark(Lane lane) { return {lane, LaneOf(lane).Mark()}; }

void CudaDevice::Await(Lane lane, Moment moment) {
  LaneOf(lane).Await(LaneOf(moment.lane), moment.number);
}

bool CudaDevice::HasPassed(Moment moment) { return LaneOf(moment.lane).HasPassed(moment.number); }

absl::Status CudaDevice::Wait(Moment moment) { return LaneOf(moment.lane).Wait(moment.number); }

void* CudaDevice::Stream(Lane lane) { return LaneOf(lane).Stream(); }

}  // namespace reprise::cachestore
