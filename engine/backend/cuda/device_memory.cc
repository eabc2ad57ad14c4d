#include "engine/backend/cuda/device_memory.h"

#include <utility>

#include "cachestore/base/status_macros.h"

namespace reprise::engine::cuda {

using cachestore::Device;
using cachestore::DeviceBytes;
using cachestore::Lane;

absl::StatusOr<DeviceBytes> ReserveForCompute(Device* device, size_t bytes) {
  const size_t whole = (bytes + Device::kAlignment - 1) / Device::kAlignment * Device::kAlignment;
  ASSIGN_OR_RETURN(DeviceBytes memory, device->Reserve(whole));
  const absl::Span<std::byte> place = memory.bytes();
  return DeviceBytes(place, [device, memory = std::move(memory)] {
    // A device that failed works no more.
    device->Wait(device->Mark(Lane::kCompute)).IgnoreError();
  });
}

absl::Status Grow(Device* device, size_t bytes, DeviceBytes* memory) {
  if (bytes <= memory->bytes().size()) return absl::OkStatus();
  // Freed first: both together may not fit.
  *memory = {};
  ASSIGN_OR_RETURN(*memory, ReserveForCompute(device, bytes + bytes / 2));
  return absl::OkStatus();
}

}  // namespace reprise::engine::cuda
