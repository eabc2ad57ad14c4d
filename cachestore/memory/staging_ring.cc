#include "cachestore/memory/staging_ring.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "cachestore/base/check.h"
#include "cachestore/base/status_macros.h"

namespace reprise::cachestore {
namespace {

// From one buffer to the next.
size_t StrideOf(size_t buffer_bytes) {
  return (buffer_bytes + Device::kAlignment - 1) / Device::kAlignment * Device::kAlignment;
}

}  // namespace

StagingRing::Buffer::Buffer(Buffer&& other) noexcept
    : ring_(std::exchange(other.ring_, nullptr)),
      index_(other.index_),
      generation_(other.generation_) {}

StagingRing::Buffer::~Buffer() {
  if (ring_ != nullptr && ring_->slots_[index_].generation == generation_) {
    ring_->Release(index_, Moment{});
  }
}

absl::Span<std::byte> StagingRing::Buffer::bytes() const {
  CHECK(ring_ != nullptr && ring_->slots_[index_].generation == generation_);
  return ring_->memory_->bytes().subspan(index_ * StrideOf(ring_->buffer_bytes_),
                                         ring_->buffer_bytes_);
}

void StagingRing::Buffer::ReleaseAfter(Lane lane) {
  CHECK(ring_ != nullptr && ring_->slots_[index_].generation == generation_);
  ring_->Release(index_, ring_->device_->Mark(lane));
}

absl::StatusOr<std::unique_ptr<StagingRing>> StagingRing::Create(Device* device, size_t num_buffers,
                                                                 size_t buffer_bytes) {
  CHECK(num_buffers > 0 && buffer_bytes > 0);
  const size_t bytes = num_buffers * StrideOf(buffer_bytes);
  ASSIGN_OR_RETURN(std::unique_ptr<HostArena> memory,
                   HostArena::Reserve(static_cast<int64_t>(bytes)));
  ASSIGN_OR_RETURN(DeviceBytes pinned, device->Register(memory->bytes()));
  return std::unique_ptr<StagingRing>(
      new StagingRing(device, std::move(memory), std::move(pinned), num_buffers, buffer_bytes));
}

StagingRing::StagingRing(Device* device, std::unique_ptr<HostArena> memory, DeviceBytes pinned,
                         size_t num_buffers, size_t buffer_bytes)
    : device_(device),
      memory_(std::move(memory)),
      pinned_(std::move(pinned)),
      buffer_bytes_(buffer_bytes),
      slots_(num_buffers) {}

StagingRing::~StagingRing() {
  for (const Slot& slot : slots_) {
    CHECK(slot.generation % 2 == 0);
    // A device that failed reads nothing any more.
    device_->Wait(slot.read).IgnoreError();
  }
}

absl::StatusOr<StagingRing::Buffer> StagingRing::Acquire() {
  const Slot* oldest = nullptr;
  for (const Slot& slot : slots_) {
    const bool is_free = slot.generation % 2 == 0;
    if (is_free && (oldest == nullptr || slot.released < oldest->released)) oldest = &slot;
  }
  if (oldest == nullptr) {
    return absl::ResourceExhaustedError(absl::StrCat("all ", slots_.size(), " staging buffers of ",
                                                     buffer_bytes_, " bytes are held"));
  }
  RETURN_IF_ERROR(device_->Wait(oldest->read));
  const size_t index = static_cast<size_t>(oldest - slots_.data());
  return Buffer(this, index, ++slots_[index].generation);
}

void StagingRing::Release(size_t index, Moment read) {
  Slot& slot = slots_[index];
  ++slot.generation;
  slot.read = read;
  slot.released = ++num_released_;
}

}  // namespace reprise::cachestore
