#include "engine/backend/cuda/upload_buffer.h"

#include "cachestore/base/status_macros.h"
#include "engine/backend/cuda/device_memory.h"

namespace reprise::engine::cuda {

using cachestore::CopyPiece;
using cachestore::Lane;
using cachestore::StagingRing;

absl::Status UploadBuffer::Begin(size_t bytes) {
  open_.reset();
  used_ = 0;
  if (ring_ == nullptr || bytes > memory_.bytes().size()) {
    RETURN_IF_ERROR(Grow(device_, bytes, &memory_));
    ring_.reset();
    ASSIGN_OR_RETURN(ring_, StagingRing::Create(device_, kStagingBuffers, memory_.bytes().size()));
  }
  ASSIGN_OR_RETURN(StagingRing::Buffer buffer, ring_->Acquire());
  open_.emplace(std::move(buffer));
  return absl::OkStatus();
}

absl::Status UploadBuffer::Send() {
  CHECK(open_.has_value());
  const CopyPiece piece = {memory_.bytes().data(), open_->bytes().data(), used_};
  if (used_ > 0) RETURN_IF_ERROR(device_->Copy(Lane::kCompute, {&piece, 1}));
  open_->ReleaseAfter(Lane::kCompute);
  open_.reset();
  return absl::OkStatus();
}

}  // namespace reprise::engine::cuda
