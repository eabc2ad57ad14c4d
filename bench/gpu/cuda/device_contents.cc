#include "bench/gpu/cuda/device_contents.h"

#include <algorithm>
#include <cstring>
#include <random>

#include "cachestore/base/status_macros.h"
#include "cachestore/memory/host_arena.h"

namespace reprise::bench {

using cachestore::CopyPiece;
using cachestore::Device;
using cachestore::DeviceBytes;
using cachestore::HostArena;
using cachestore::Lane;

std::vector<std::byte> RandomBF16(size_t bytes) {
  std::mt19937 random(1);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<std::byte> numbers(bytes / sizeof(uint16_t) * sizeof(uint16_t));
  for (size_t i = 0; i < numbers.size(); i += sizeof(uint16_t)) {
    const float value = uniform(random);
    // The upper half of a float is a bf16.
    std::memcpy(&numbers[i], reinterpret_cast<const std::byte*>(&value) + 2, sizeof(uint16_t));
  }
  return numbers;
}

std::vector<std::byte> RandomE4M3(size_t bytes) {
  std::mt19937 random(1);
  std::vector<std::byte> numbers(bytes);
  // Without the highest bit of the exponent.
  for (std::byte& number : numbers) number = static_cast<std::byte>(random()) & std::byte{0xBF};
  return numbers;
}

absl::Status FillDevice(Device& device, absl::Span<std::byte> bytes,
                        absl::Span<const std::byte> pattern) {
  ASSIGN_OR_RETURN(const auto host,
                   HostArena::Reserve(static_cast<int64_t>(DeviceSize(pattern.size()))));
  std::memcpy(host->bytes().data(), pattern.data(), pattern.size());
  ASSIGN_OR_RETURN(const DeviceBytes pinned, device.Register(host->bytes()));
  std::vector<CopyPiece> pieces;
  for (size_t at = 0; at < bytes.size(); at += pattern.size()) {
    pieces.push_back(
        {bytes.data() + at, host->bytes().data(), std::min(pattern.size(), bytes.size() - at)});
  }
  RETURN_IF_ERROR(device.Copy(Lane::kCompute, pieces));
  return device.Wait(device.Mark(Lane::kCompute));
}

absl::StatusOr<DeviceBytes> PutOnDevice(Device& device, absl::Span<const std::byte> values) {
  ASSIGN_OR_RETURN(DeviceBytes own, device.Reserve(DeviceSize(values.size())));
  if (!values.empty()) {
    RETURN_IF_ERROR(FillDevice(device, own.bytes().first(values.size()), values));
  }
  return own;
}

absl::StatusOr<std::vector<float>> FloatsOnDevice(Device& device, const float* from, size_t count) {
  const size_t bytes = count * sizeof(float);
  ASSIGN_OR_RETURN(const auto host, HostArena::Reserve(static_cast<int64_t>(DeviceSize(bytes))));
  ASSIGN_OR_RETURN(const DeviceBytes pinned, device.Register(host->bytes()));
  RETURN_IF_ERROR(device.Copy(
      Lane::kCompute, {{host->bytes().data(), reinterpret_cast<const std::byte*>(from), bytes}}));
  RETURN_IF_ERROR(device.Wait(device.Mark(Lane::kCompute)));
  std::vector<float> floats(count);
  std::memcpy(floats.data(), host->bytes().data(), bytes);
  return floats;
}

}  // namespace reprise::bench
