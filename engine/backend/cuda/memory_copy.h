// MemoryCopy: copies of any host memory into a device's, through pinned buffers of its own, in
// order with the compute lane; and back. Thread-compatible.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "cachestore/memory/device.h"
#include "cachestore/memory/staging_ring.h"

namespace reprise::engine::cuda {

class MemoryCopy {
 public:
  // `device` outlives it. Errors are StagingRing's.
  static absl::StatusOr<std::unique_ptr<MemoryCopy>> Create(cachestore::Device* device);

  // `bytes` (> 0) in memory of the device (ReserveForCompute), for work given from now on. `from`
  // is not needed afterwards.
  absl::StatusOr<cachestore::DeviceBytes> Keep(const void* from, size_t bytes);

  // `bytes` of the device's memory as the work given so far leaves them, until the next call.
  // BLOCKS. kInternal: work failed.
  absl::StatusOr<absl::Span<std::byte>> Show(const void* from, size_t bytes);

  cachestore::Device* device() const { return device_; }

 private:
  MemoryCopy(cachestore::Device* device, std::unique_ptr<cachestore::StagingRing> ring)
      : device_(device), ring_(std::move(ring)) {}

  cachestore::Device* const device_;
  const std::unique_ptr<cachestore::StagingRing> ring_;
  // What Show gave: one buffer, which grows.
  size_t shown_bytes_ = 0;
  std::unique_ptr<cachestore::StagingRing> shown_ring_;
  std::optional<cachestore::StagingRing::Buffer> shown_;
};

}  // namespace reprise::engine::cuda
