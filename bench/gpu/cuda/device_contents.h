// What a device's memory holds, before a measurement and after it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "cachestore/memory/device.h"

namespace reprise::bench {

// bf16 numbers in [-1, 1): what the numbers are decides how much power, and so at which clock, a
// card computes.
std::vector<std::byte> RandomBF16(size_t bytes);
// e4m3 numbers in (-2, 2); none of them is NaN.
std::vector<std::byte> RandomE4M3(size_t bytes);

// Fills `bytes` of the device's memory with `pattern`, again and again, on the compute lane.
// BLOCKS.
absl::Status FillDevice(cachestore::Device& device, absl::Span<std::byte> bytes,
                        absl::Span<const std::byte> pattern);

// Memory of the device that holds `values`, or more. BLOCKS.
absl::StatusOr<cachestore::DeviceBytes> PutOnDevice(cachestore::Device& device,
                                                    absl::Span<const std::byte> values);
template <typename T>
absl::StatusOr<cachestore::DeviceBytes> PutOnDevice(cachestore::Device& device,
                                                    const std::vector<T>& values) {
  return PutOnDevice(device, absl::MakeConstSpan(reinterpret_cast<const std::byte*>(values.data()),
                                                 values.size() * sizeof(T)));
}

// `count` floats at `from`, in the device's memory, after all that the compute lane was given.
// BLOCKS.
absl::StatusOr<std::vector<float>> FloatsOnDevice(cachestore::Device& device, const float* from,
                                                  size_t count);

// `bytes` (may be 0) rounded up to what Device::Reserve takes.
inline size_t DeviceSize(size_t bytes) {
  constexpr size_t kUnit = cachestore::Device::kAlignment;
  return bytes == 0 ? kUnit : (bytes + kUnit - 1) / kUnit * kUnit;
}

}  // namespace reprise::bench
