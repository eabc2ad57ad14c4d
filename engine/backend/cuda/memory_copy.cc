#include "engine/backend/cuda/memory_copy.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "cachestore/base/status_macros.h"
#include "engine/backend/cuda/device_memory.h"

namespace reprise::engine::cuda {
namespace {

using cachestore::CopyPiece;
using cachestore::Device;
using cachestore::DeviceBytes;
using cachestore::Lane;
using cachestore::StagingRing;

// The host fills one buffer while the lane reads the other.
constexpr size_t kBuffers = 2;
constexpr size_t kBufferBytes = size_t{4} << 20;

}  // namespace

absl::StatusOr<std::unique_ptr<MemoryCopy>> MemoryCopy::Create(Device* device) {
  ASSIGN_OR_RETURN(std::unique_ptr<StagingRing> ring,
                   StagingRing::Create(device, kBuffers, kBufferBytes));
  return std::unique_ptr<MemoryCopy>(new MemoryCopy(device, std::move(ring)));
}

absl::StatusOr<DeviceBytes> MemoryCopy::Keep(const void* from, size_t bytes) {
  ASSIGN_OR_RETURN(DeviceBytes memory, ReserveForCompute(device_, bytes));
  const auto* source = static_cast<const std::byte*>(from);
  for (size_t done = 0; done < bytes;) {
    const size_t count = std::min(bytes - done, kBufferBytes);
    ASSIGN_OR_RETURN(StagingRing::Buffer buffer, ring_->Acquire());
    std::memcpy(buffer.bytes().data(), source + done, count);
    const CopyPiece piece = {memory.bytes().data() + done, buffer.bytes().data(), count};
    RETURN_IF_ERROR(device_->Copy(Lane::kCompute, {&piece, 1}));
    buffer.ReleaseAfter(Lane::kCompute);
    done += count;
  }
  return memory;
}

absl::StatusOr<absl::Span<std::byte>> MemoryCopy::Show(const void* from, size_t bytes) {
  shown_.reset();
  if (bytes == 0) return absl::Span<std::byte>();
  if (bytes > shown_bytes_) {
    shown_bytes_ = 0;
    shown_ring_.reset();
    ASSIGN_OR_RETURN(shown_ring_, StagingRing::Create(device_, 1, bytes + bytes / 2));
    shown_bytes_ = bytes + bytes / 2;
  }
  ASSIGN_OR_RETURN(StagingRing::Buffer buffer, shown_ring_->Acquire());
  shown_.emplace(std::move(buffer));
  const absl::Span<std::byte> to = shown_->bytes().first(bytes);
  const CopyPiece piece = {to.data(), static_cast<const std::byte*>(from), bytes};
  RETURN_IF_ERROR(device_->Copy(Lane::kCompute, {&piece, 1}));
  RETURN_IF_ERROR(device_->Wait(device_->Mark(Lane::kCompute)));
  return to;
}

}  // namespace reprise::engine::cuda
