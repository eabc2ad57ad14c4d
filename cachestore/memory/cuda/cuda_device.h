// CudaDevice: the Device of a CUDA card. Memory comes from plain cudaMalloc, host memory is pinned
// where it lies; the lanes are streams, the moments events.
//
// The lock over the memory map is never held over a CUDA call that waits. Thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "cachestore/memory/copy_plan.h"
#include "cachestore/memory/cuda/cuda_lane.h"
#include "cachestore/memory/device.h"
#include "cachestore/memory/memory_map.h"

namespace reprise::cachestore {

class CudaDevice : public Device {
 public:
  // As OpenDevice.
  static absl::StatusOr<std::unique_ptr<Device>> Open(const CopyCrossovers& crossovers);

  absl::StatusOr<DeviceBytes> Reserve(size_t bytes) override;
  absl::StatusOr<DeviceBytes> Register(absl::Span<std::byte> host) override;
  absl::Status Copy(Lane lane, absl::Span<const CopyPiece> pieces) override;
  Moment Mark(Lane lane) override;
  void Await(Lane lane, Moment moment) override;
  bool HasPassed(Moment moment) override;
  absl::Status Wait(Moment moment) override;
  void* Stream(Lane lane) override;

 private:
  using Lanes = std::array<std::unique_ptr<CudaLane>, kNumLanes>;

  CudaDevice(const CopyCrossovers& crossovers, Lanes lanes);

  CudaLane& LaneOf(Lane lane) const { return *lanes_[static_cast<size_t>(lane)]; }
  // Unpins what was pinned of `host`: whole pieces, from its start.
  void Unpin(absl::Span<std::byte> host);

  const CopyCrossovers crossovers_;
  const Lanes lanes_;
  absl::Mutex mu_;
  MemoryMap map_ ABSL_GUARDED_BY(mu_);
};

}  // namespace reprise::cachestore
