// DeviceBytes: bytes that a device can reach for as long as this lives: memory of its own
// (Device::Reserve), or host memory pinned for it (Device::Register). Gives them back when it is
// destroyed, which must be before the device is. Move-only; thread-compatible.
#pragma once

#include <cstddef>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/types/span.h"

namespace reprise::cachestore {

class DeviceBytes {
 public:
  DeviceBytes() = default;
  // `give_back` runs once, when this is destroyed or assigned to.
  DeviceBytes(absl::Span<std::byte> bytes, absl::AnyInvocable<void() &&> give_back)
      : bytes_(bytes), give_back_(std::move(give_back)) {}
  DeviceBytes(DeviceBytes&& other) noexcept
      : bytes_(std::exchange(other.bytes_, {})),
        give_back_(std::exchange(other.give_back_, nullptr)) {}
  DeviceBytes& operator=(DeviceBytes&& other) noexcept {
    if (this == &other) return *this;
    GiveBack();
    bytes_ = std::exchange(other.bytes_, {});
    give_back_ = std::exchange(other.give_back_, nullptr);
    return *this;
  }
  ~DeviceBytes() { GiveBack(); }

  // Of device memory these are addresses, which the host must not follow. Empty once moved from.
  absl::Span<std::byte> bytes() const { return bytes_; }

 private:
  void GiveBack() {
    if (give_back_) std::move(give_back_)();
  }

  absl::Span<std::byte> bytes_;
  absl::AnyInvocable<void() &&> give_back_;
};

}  // namespace reprise::cachestore
