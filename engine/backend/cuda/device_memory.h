// Memory of a device for the compute lane. Functions of a device; thread-compatible.
#pragma once

#include <cstddef>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "cachestore/memory/device.h"

namespace reprise::engine::cuda {

// `bytes` (> 0) that may be given back while the compute lane still works there: that BLOCKS until
// it has passed all it was given. Errors are Device::Reserve's.
absl::StatusOr<cachestore::DeviceBytes> ReserveForCompute(cachestore::Device* device, size_t bytes);

// Makes `memory`, of ReserveForCompute, at least `bytes` large, and then larger by half than asked
// for, so that it grows seldom; what it held is lost. BLOCKS when it grows.
absl::Status Grow(cachestore::Device* device, size_t bytes, cachestore::DeviceBytes* memory);

}  // namespace reprise::engine::cuda
