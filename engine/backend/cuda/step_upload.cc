#include "engine/backend/cuda/step_upload.h"

#include <algorithm>
#include <bit>
#include <iterator>

#include "cachestore/base/check.h"
#include "cachestore/base/status_macros.h"
#include "engine/backend/cuda/kv_description.h"

namespace reprise::engine::cuda {
namespace {

constexpr size_t kLeastStride = 16;

// The blocks that hold positions of `sequence`.
absl::Span<std::byte* const> BlocksOf(const SequenceRows& sequence, int32_t block_tokens) {
  const int64_t positions = sequence.start + sequence.num_rows;
  return sequence.blocks.first((positions + block_tokens - 1) / block_tokens);
}

}  // namespace

void StepUpload::ListRows(const StepInput& step) {
  all_ = {};
  kept_ = {};
  for (const SequenceRows& sequence : step.sequences) {
    const auto index = static_cast<int32_t>(all_.sequences.size());
    const auto start = static_cast<int32_t>(sequence.start);
    const auto num_rows = static_cast<int32_t>(sequence.num_rows);
    CHECK(sequence.first_row == std::ssize(all_.rows));
    all_.sequences.push_back({static_cast<int32_t>(sequence.first_row), num_rows, index, start});
    for (int32_t r = 0; r < num_rows; ++r) all_.rows.push_back({index, start + r + 1});
  }
  for (const int64_t row : step.kept_rows) {
    const AttentionRow& kept = all_.rows[row];
    const auto place = static_cast<int32_t>(kept_.rows.size());
    kept_.sequences.push_back({place, 1, kept.sequence, kept.length - 1});
    kept_.rows.push_back(kept);
  }
}

void StepUpload::ListBlocks(const StepInput& step) {
  size_t stride = 1;
  for (const SequenceRows& sequence : step.sequences) {
    const auto blocks = BlocksOf(sequence, layout_.block_tokens);
    stride = std::max(stride, blocks.size());
    for (std::byte* const block : blocks) {
      if (base_ == nullptr || block < base_) base_ = block;
    }
  }
  // The table of longer sequences is wider, but seldom.
  stride = std::max(std::bit_ceil(stride), kLeastStride);
  table_stride_ = static_cast<int32_t>(stride);
  // No place at all where a sequence has no block.
  host_table_.assign(step.sequences.size() * stride, UINT32_MAX);
  int64_t last = 0;
  for (size_t s = 0; s < step.sequences.size(); ++s) {
    uint32_t* entry = host_table_.data() + s * stride;
    for (const std::byte* const block : BlocksOf(step.sequences[s], layout_.block_tokens)) {
      const std::ptrdiff_t offset = block - base_;
      CHECK(offset % kBlockUnit == 0 && offset / kBlockUnit < UINT32_MAX);
      *entry++ = static_cast<uint32_t>(offset / kBlockUnit);
      last = std::max<int64_t>(last, offset);
    }
  }
  arena_bytes_ = last + static_cast<int64_t>(layout_.BytesPerBlock());
}

absl::Status StepUpload::Begin(const StepInput& step) {
  layout_ = step.layout;
  ListRows(step);
  ListBlocks(step);
  CHECK(std::ssize(all_.rows) == step.num_rows());
  host_ids_.assign(step.ids.begin(), step.ids.end());
  ListPositions(step.sequences, &host_positions_);
  const size_t rows = all_.rows.size();
  RETURN_IF_ERROR(buffer_.Begin(2 * UploadBuffer::RoomFor<int32_t>(rows) +
                                UploadBuffer::RoomFor<AttentionRow>(rows) +
                                UploadBuffer::RoomFor<AttentionRow>(kept_.rows.size()) +
                                UploadBuffer::RoomFor<uint32_t>(host_table_.size())));
  ids_ = buffer_.Put(absl::MakeConstSpan(host_ids_));
  positions_ = buffer_.Put(absl::MakeConstSpan(host_positions_));
  all_.on_device = buffer_.Put(absl::MakeConstSpan(all_.rows));
  kept_.on_device = buffer_.Put(absl::MakeConstSpan(kept_.rows));
  table_ = buffer_.Put(absl::MakeConstSpan(host_table_));
  return buffer_.Send();
}

PagedKv StepUpload::kv(int32_t layer) const {
  return DescribeKv(layout_, layer, reinterpret_cast<uint8_t*>(base_), table_, table_stride_);
}

}  // namespace reprise::engine::cuda
