// UploadBuffer: a place in a device's memory that the host fills time after time, in order with the
// compute lane: work given before an upload reads what was there before, work given after it the
// new bytes. What is put is staged in pinned memory (StagingRing), so the host may change its own
// at once. Destroying it BLOCKS until the compute lane needs the place no more. Thread-compatible.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "cachestore/base/check.h"
#include "cachestore/memory/device.h"
#include "cachestore/memory/staging_ring.h"

namespace reprise::engine::cuda {

class UploadBuffer {
 public:
  // `device` must outlive the buffer.
  explicit UploadBuffer(cachestore::Device* device) : device_(device) {}
  UploadBuffer(const UploadBuffer&) = delete;
  UploadBuffer& operator=(const UploadBuffer&) = delete;

  // The room that an array of `count` takes.
  template <typename T>
  static constexpr size_t RoomFor(size_t count) {
    return (count * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
  }

  // Begins an upload of at most `bytes` (> 0). Addresses that Put gave before mean nothing for work
  // given from now on. BLOCKS when the place must grow. Errors are of Device::Reserve and
  // StagingRing.
  absl::Status Begin(size_t bytes);
  // Puts `values` behind what was put before, and leaves room for `most` (0: for no more than they
  // are); returns where the device will have them, at a multiple of 16: the same place as long as
  // Begin was told of no more than before, and the rooms before it are the same. REQUIRES: between
  // Begin and Send, which were told of as much.
  template <typename T>
  T* Put(absl::Span<const T> values, size_t most = 0) {
    const size_t room = RoomFor<T>(std::max(values.size(), most));
    CHECK(open_.has_value() && room <= memory_.bytes().size() - used_);
    if (!values.empty()) {
      std::memcpy(open_->bytes().data() + used_, values.data(), values.size() * sizeof(T));
    }
    T* const place = reinterpret_cast<T*>(memory_.bytes().data() + used_);
    used_ += room;
    return place;
  }
  // Gives the compute lane the copy of what was put.
  absl::Status Send();

 private:
  static constexpr size_t kAlignment = 16;
  // The host fills one while the lane reads another.
  static constexpr size_t kStagingBuffers = 2;

  cachestore::Device* const device_;
  cachestore::DeviceBytes memory_;
  std::unique_ptr<cachestore::StagingRing> ring_;
  std::optional<cachestore::StagingRing::Buffer> open_;  // between Begin and Send
  size_t used_ = 0;
};

}  // namespace reprise::engine::cuda
